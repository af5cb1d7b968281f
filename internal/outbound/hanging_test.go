package outbound

import (
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// aloof is a provider that does not say in time what it is.
type aloof struct{ contracts.Provider }

func (aloof) hang() { <-time.After(time.Hour) }

func (s aloof) CredentialHosts(*contracts.Integration) ([]string, error) { s.hang(); return nil, nil }
func (s aloof) BudgetKey(*contracts.Integration) string                  { s.hang(); return "" }
func (s aloof) SensitiveRequestFields() []string                         { s.hang(); return nil }
func (s aloof) SensitiveResponseFields() []string                        { s.hang(); return nil }
func (s aloof) UnloggedResponseEndpoints() []string                      { s.hang(); return nil }

// A provider that does not say what it is is left behind. What may be secret by its word is not shown.
func TestHangingProviders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := contracts.NewIntegration(contracts.IntegrationFields{Provider: "aloof", Name: "main"})
		if _, err := CredentialHosts(aloof{}, in); !errors.Is(err, panics.ErrLeftBehind) {
			t.Errorf("CredentialHosts: %v", err)
		}
		if _, err := budget.Shared(aloof{}, in, in); !errors.Is(err, panics.ErrLeftBehind) {
			t.Errorf("BudgetKey: %v", err)
		}
		redactor := redact.New(aloof{}, in)
		for name, body := range map[string][]byte{
			"request":  redactor.RequestBody("application/json", []byte(`{"pin":"1"}`), false),
			"response": redactor.ResponseBody("text/plain", []byte("pin 1"), false),
			"query":    []byte(redactor.Query("pin=1")),
		} {
			if string(body) != redact.Redacted {
				t.Errorf("the %s is shown as %q", name, body)
			}
		}
		if shown := redactor.URL(&url.URL{Scheme: "https", Host: "a.example", Path: "/b"}).
			String(); shown != "https://a.example/b" {
			t.Errorf("the URL is shown as %s", shown)
		}
		if !requestlog.UnloggedOf(aloof{}).Match("GET", "/a/b") {
			t.Error("an answer is logged")
		}
		<-time.After(3 * time.Hour) // until those that were left behind have ended
	})
}
