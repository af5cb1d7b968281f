package providertest

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// others checks an integration of the same provider that has other credentials: the first one's are not used for it, and its health is its own.
func (k *kit) others(t *testing.T, provider contracts.ScheduledSync) {
	var credentials any
	if raw := encode(t, k.Credentials); raw == nil || json.Unmarshal(raw, &credentials) != nil {
		return
	}
	var altered []string
	other := alter(credentials, &altered)
	if len(altered) == 0 {
		return
	}
	integration := func(base http.RoundTripper) *contracts.Integration {
		raw := slog.New(slog.NewTextHandler(&k.log, nil))
		return integration(t, k.Provider, other, k.Metadata, &http.Client{Transport: base}, func(*outbound.Redactor) *slog.Logger { return raw })
	}
	leaks, status := false, 0
	upstream := k.upstream()
	_ = k.guarded(t, "the sync", func() error { // how it fails is the upstream's affair
		return provider.Sync(k.context(t), integration(transportFunc(func(req *http.Request) (*http.Response, error) {
			leaks = leaks || len(carried(req, altered)) > 0
			res, err := upstream.RoundTrip(req)
			if err == nil {
				status = res.StatusCode
			}
			return res, err
		})), &Session{})
	})
	if leaks {
		t.Error("the requests of an integration carry the credentials of another: does the provider keep credentials in itself? Read them from the integration each time")
	}
	health, ok := k.Provider.(contracts.HealthChecker)
	if !ok || status != http.StatusUnauthorized && status != http.StatusForbidden {
		return
	}
	if err := k.guarded(t, "HealthCheck", func() error { return health.HealthCheck(k.context(t), integration(k.upstream())) }); err == nil {
		t.Errorf("HealthCheck is healthy with credentials that the upstream refuses (a sync with them is answered %d): ask for something that needs them", status)
	}
}

// alter is a copy of credentials in which each secret is another one of the same form. What was altered is added to the list. Addresses stay as they are.
func alter(value any, altered *[]string) any {
	switch v := value.(type) {
	case string:
		if len(secretsIn(v)) == 0 || strings.Contains(v, "://") {
			return v
		}
		other := backwards(v)
		if other != v {
			*altered = append(*altered, v)
		}
		return other
	case map[string]any:
		all := map[string]any{}
		for name, inner := range v {
			all[name] = alter(inner, altered)
		}
		return all
	case []any:
		var all []any
		for _, inner := range v {
			all = append(all, alter(inner, altered))
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
