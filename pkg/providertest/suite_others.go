package providertest

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// others checks an integration of the same provider with other credentials: the first one's are not used for it, and its health is its own.
func (k *kit) others(t *testing.T, provider contracts.ScheduledSync) {
	var altered []string
	credentials := alter(decoded(t, k.Credentials), &altered)
	if len(altered) == 0 {
		return
	}
	var leaks atomic.Bool
	var status atomic.Int64
	upstream := k.upstream()
	_ = k.guarded(t, "the sync", func() error { // how it fails is the upstream's affair
		return provider.Sync(k.context(t), k.another(t, credentials, k.Metadata, transportFunc(func(req *http.Request) (*http.Response, error) {
			if len(carried(req, altered)) > 0 {
				leaks.Store(true)
			}
			res, err := upstream.RoundTrip(req)
			if err == nil {
				status.Store(int64(res.StatusCode))
			}
			return res, err
		})), &Session{})
	})
	if leaks.Load() {
		t.Error("the requests of an integration carry the credentials of another: does the provider keep credentials in itself? Read them from the integration each time")
	}
	health, ok := k.Provider.(contracts.HealthChecker)
	if refused := status.Load(); !ok || refused != http.StatusUnauthorized && refused != http.StatusForbidden {
		return
	}
	in := k.another(t, credentials, k.Metadata, k.upstream())
	if err := k.guarded(t, "HealthCheck", func() error { return health.HealthCheck(k.context(t), in) }); err == nil {
		t.Errorf("HealthCheck is healthy with credentials that the upstream refuses (a sync with them is answered %d): ask for something that needs them", status.Load())
	}
}

// elsewhere checks an integration whose metadata name another host: nothing is asked of the first one's.
func (k *kit) elsewhere(t *testing.T, provider contracts.ScheduledSync) {
	homes := map[string]bool{}
	metadata := altering(decoded(t, k.Metadata), func(text string) string {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || strings.Contains(string(encode(t, k.Credentials)), u.Host) {
			return text
		}
		homes[u.Host], u.Host = true, "elsewhere.example"
		return u.String()
	})
	var strayed atomic.Value
	enough := errors.New("the suite has seen enough")
	_ = k.guarded(t, "the sync", func() error {
		return provider.Sync(k.context(t), k.another(t, k.Credentials, metadata, transportFunc(func(req *http.Request) (*http.Response, error) {
			if homes[req.URL.Host] {
				strayed.Store(req.URL.Host)
			}
			return nil, enough
		})), &Session{})
	})
	if host := strayed.Load(); host != nil {
		t.Errorf("the requests of an integration go to %s, the host of another: does the provider keep metadata in itself? Read them from the integration each time", host)
	}
}

// another is an integration of the provider beside that of the fixture.
func (k *kit) another(t *testing.T, credentials, metadata any, base http.RoundTripper) *contracts.Integration {
	t.Helper()
	log := slog.New(slog.NewTextHandler(&k.log, nil))
	return integration(t, k.Provider, credentials, metadata, &http.Client{Transport: base}, func(*redact.Redactor) *slog.Logger { return log })
}

// decoded is a value as its JSON has it.
func decoded(t *testing.T, value any) (plain any) {
	t.Helper()
	if raw := encode(t, value); raw != nil {
		if err := json.Unmarshal(raw, &plain); err != nil {
			t.Fatal(err)
		}
	}
	return plain
}

// alter is a copy of credentials in which each secret is another one of the same form. What was altered is added to the list. Addresses stay as they are.
func alter(value any, altered *[]string) any {
	return altering(value, func(text string) string {
		other := backwards(text)
		if len(secretsIn(text)) == 0 || strings.Contains(text, "://") || other == text {
			return text
		}
		*altered = append(*altered, text)
		return other
	})
}

// altering is a copy of a value in which each text is replaced.
func altering(value any, replace func(string) string) any {
	switch v := value.(type) {
	case string:
		return replace(v)
	case map[string]any:
		all := map[string]any{}
		for name, inner := range v {
			all[name] = altering(inner, replace)
		}
		return all
	case []any:
		var all []any
		for _, inner := range v {
			all = append(all, altering(inner, replace))
		}
		return all
	}
	return value
}

// backwards is a text from its end, but for a prefix such as that of "whsec_c2VjcmV0" and the padding of base64.
func backwards(text string) string {
	const prefixed = 8
	start := strings.LastIndexByte(text, '_') + 1
	if len(text)-start < prefixed {
		start = 0
	}
	core := []byte(strings.TrimRight(text[start:], "="))
	end := text[start+len(core):]
	slices.Reverse(core)
	return text[:start] + string(core) + end
}
