package providertest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// quoted checks that no error has a credential of a request which the upstream quotes when it refuses it.
func (k *kit) quoted(t *testing.T, provider contracts.ScheduledSync) {
	secrets := k.secrets(t)
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusInternalServerError} {
		quoting := transportFunc(func(req *http.Request) (*http.Response, error) {
			text := string(encode(t, "not known: "+strings.Join(carried(req, secrets), " ")))
			return answering(status, `{"message":`+text+`,"error":`+text+`}`).RoundTrip(req)
		})
		err := k.guarded(t, "the sync", func() error { return provider.Sync(k.context(t), k.integration(t, quoting), &Session{}) })
		if err != nil && slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(err.Error(), secret) }) {
			t.Errorf("%d: the error of the sync quotes the answer, in which the upstream quotes a credential: leave the text of answers out of errors, "+
				"or take what is secret out of it", status)
			return
		}
	}
}

// secrets are the fixture's credentials.
func (k *kit) secrets(t *testing.T) []string {
	t.Helper()
	return secretsIn(decoded(t, k.Credentials))
}

// carried are those of the secrets that the address or the header of a request has.
func carried(req *http.Request, secrets []string) (found []string) {
	name, password, _ := req.BasicAuth()
	text := fmt.Sprint(req.URL, req.Header, " ", name, " ", password)
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			found = append(found, secret)
		}
	}
	return found
}

// noSecret fails when a text holds one of the fixture's credentials.
func (k *kit) noSecret(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range k.secrets(t) {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds a credential", where)
		}
	}
}

func (k *kit) checkError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		k.noSecret(t, "an error", err.Error())
	}
}

// secretsIn are the strings of credentials that are long enough to be secrets.
func secretsIn(value any) []string {
	const least = 8
	switch v := value.(type) {
	case string:
		if len(v) >= least {
			return []string{v}
		}
	case map[string]any:
		var all []string
		for _, inner := range v {
			all = append(all, secretsIn(inner)...)
		}
		return all
	case []any:
		var all []string
		for _, inner := range v {
			all = append(all, secretsIn(inner)...)
		}
		return all
	}
	return nil
}
