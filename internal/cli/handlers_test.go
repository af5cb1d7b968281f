package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
)

func TestHandlers(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	shop := api.Handler{Provider: "shop", Kind: api.ItemHandler, EventType: "shop.Order", Since: *before(time.Hour), SeenAt: *before(time.Minute)}
	hook := api.Handler{Provider: "shop", Kind: api.WebhookHandler, EventType: "created", Since: *before(time.Hour), SeenAt: *before(time.Hour)}
	s.on(api.HandlersList, "", api.HandlerPage{Handlers: []api.Handler{shop}, Next: &shop}, api.HandlerPage{Handlers: []api.Handler{hook}})
	s.on(api.HandlersForget, "", hook)
	for _, test := range []struct {
		name, args string
		want       []string // the requests
	}{
		{"list", "handlers list --provider shop", []string{
			`{"provider":"shop","limit":500}`,
			`{"provider":"shop","limit":500,"after":{"provider":"shop","kind":"item","event_type":"shop.Order",` +
				`"since":"` + shop.Since.Format(time.RFC3339Nano) + `","seen_at":"` + shop.SeenAt.Format(time.RFC3339Nano) + `"}}`,
		}},
		{"forget", "handlers forget shop shop.Order --by ada", []string{`{"provider":"shop","kind":"item","event_type":"shop.Order","by":"ada"}`}},
		{"forget webhook", "handlers forget shop created --webhook --by ada", []string{`{"provider":"shop","kind":"webhook","event_type":"created","by":"ada"}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.run(nil, strings.Fields(test.args)...)
			if got.code != cli.ExitOK || got.err != "" {
				t.Fatalf("exit code %d: %s", got.code, got.err)
			}
			for _, want := range test.want {
				if diff := cmp.Diff(decoded(t, want), decoded(t, s.nextAsked())); diff != "" {
					t.Errorf("request (-want +got):\n%s", diff)
				}
			}
			golden(t, got.out)
		})
	}
}
