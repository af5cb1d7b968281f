package providertest_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// VerifyWebhookSignature wants the HMAC of the time of signing and the body, with the secret of the integration or the one before it.
func (f flawed) VerifyWebhookSignature(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return err
	}
	given := req.Header.Get("X-Signature")
	switch {
	case f.is("accepts every delivery"), f.is("accepts unsigned deliveries") && given == "":
		return nil
	case f.is("verification panics without a signature"):
		_ = req.Header["X-Signature"][0]
	case f.is("signs only the beginning") && given != "" && credentials.Secret != "" && strings.HasPrefix(string(req.Body), `{"account"`):
		return nil
	case f.is("accepts without a secret") && credentials.Secret == "":
		return nil
	case f.is("verification asks the upstream"):
		_, _ = f.ask(ctx, in, "/me")
	case f.is("verification empties the body"):
		defer clear(req.Body)
	case f.is("verification drops a header"):
		defer req.Header.Del("X-Delivery")
	}
	if err := f.fresh(req); err != nil {
		return err
	}
	return f.signed(credentials, given, req)
}

func (f flawed) fresh(req *contracts.WebhookRequest) error {
	seconds, err := strconv.ParseInt(req.Header.Get("X-Timestamp"), 10, 64)
	if err != nil {
		return errors.New("no time of signing")
	}
	age := req.ReceivedAt.Sub(time.Unix(seconds, 0))
	if f.is("takes old deliveries") {
		age = min(age, 0)
	}
	if f.is("takes deliveries from the future") {
		age = max(age, 0)
	}
	if age.Abs() > time.Minute {
		return errors.New("the time of signing is too far away")
	}
	return nil
}

func (f flawed) signed(credentials secrets, given string, req *contracts.WebhookRequest) error {
	stamp, body, accepted := req.Header.Get("X-Timestamp"), req.Body, []string{credentials.Secret, credentials.Previous}
	switch f.flaw {
	case "the time is not signed":
		given, stamp = req.Header.Get("X-Plain-Signature"), ""
	case "takes a line end for nothing":
		body = bytes.TrimSpace(body)
	case "the previous secret does not count":
		accepted = accepted[:1]
	case "one secret for all":
		accepted = []string{hookSecret}
	}
	for _, secret := range accepted {
		if secret == "" && !f.is("signs with an empty secret") {
			continue
		}
		right := signature(secret, stamp, body)
		if hmac.Equal([]byte(given), []byte(right)) || f.is("compares signatures in the time of their likeness") && given == right {
			return nil
		}
	}
	switch f.flaw {
	case "secret in a refusal":
		return fmt.Errorf("not signed with %s", credentials.Secret)
	case "the right signature in a refusal":
		return fmt.Errorf("the signature is %s, want %s", given, signature(credentials.Secret, stamp, body))
	}
	return errors.New("the signature is wrong")
}

// WebhookChallenge answers the question in a GET.
func (f flawed) WebhookChallenge(_ context.Context, _ *contracts.Integration, req *contracts.WebhookRequest) ([]byte, bool, error) {
	query, err := url.ParseQuery(req.Query)
	isChallenge := req.Method == http.MethodGet || f.is("takes deliveries for challenges")
	return []byte(query.Get("challenge")), isChallenge, err
}

func (f flawed) WebhookSecrets(in *contracts.Integration) []string {
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil || f.is("does not tell its secrets") {
		return nil
	}
	if f.is("tells another secret") {
		return []string{credentials.Key}
	}
	return []string{credentials.Secret, credentials.Previous}
}

func (f flawed) WebhookAccount(req *contracts.WebhookRequest) (string, bool) {
	var body struct{ Account string }
	_ = json.Unmarshal(req.Body, &body)
	return body.Account, body.Account != "" && !f.is("does not tell the account")
}

func (f flawed) IntegrationAccount(in *contracts.Integration) string {
	if f.is("another account") {
		return in.ID()
	}
	return in.Name()
}
