package github_test

import (
	"strconv"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, provider := range map[string]contracts.Provider{"zero": github.Provider{}, "new": github.New()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := start(t, upstream.Options{Issues: 250, Seed: 3})
			providertest.Run(t, providertest.Suite{
				Provider: provider, Key: "github", Credentials: hookCredentials(u.Token()), Metadata: metadata(u),
				Webhook: func(t testing.TB) *contracts.WebhookRequest {
					t.Helper()
					return delivery(t, "ping", map[string]string{"zen": "Approachable is better than simple."})
				},
				Change: func(t testing.TB) string {
					t.Helper()
					const number = 42
					title := "Changed"
					if err := u.Edit(number, upstream.Change{Title: &title}); err != nil {
						t.Fatal(err)
					}
					return strconv.Itoa(number)
				},
			})
		})
	}
}
