package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/events"
)

const webhookID = "01a208a9-0000-7000-8000-000000000005"

func webhook(status string) api.Webhook {
	return api.Webhook{
		ID: webhookID, Integration: "docs", IntegrationID: integration().ID, Provider: "github", DeliveryID: "d-1", EventType: "issues", Status: status,
		Tries: 2, BodyBytes: 8, Reason: "permanent", Error: "no such record", ReceivedAt: *before(time.Hour), FinishedAt: before(time.Minute),
	}
}

func TestWebhookOutput(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	shown := webhook("failed")
	shown.Details = &api.WebhookDetails{
		Method: "POST", Path: "/integrations/github/docs/webhook", Query: "a=b", Body: `{"n":42}`, Result: json.RawMessage("null"),
		Headers: map[string][]string{"Content-Type": {"application/json"}, "X-Hub-Signature-256": {"***"}}, StartedAt: before(time.Minute),
	}
	s.on(api.WebhooksList, "", api.WebhookPage{Webhooks: []api.Webhook{webhook("failed"), webhook("processed")}})
	s.on(api.WebhooksShow, "", shown)
	for _, test := range []struct{ name, args string }{
		{"webhooks", "webhooks list --integration docs --status failed"},
		{"webhooks json", "webhooks list --json"},
		{"webhook", "webhooks show " + webhookID},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.run(nil, strings.Fields(test.args)...)
			if got.code != cli.ExitOK || got.err != "" {
				t.Fatalf("exit code %d: %s", got.code, got.err)
			}
			golden(t, got.out)
		})
	}
}

func TestWebhookCommands(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.on(api.WebhooksShow, "", webhook("failed"))
	for _, verb := range []events.Verb{events.VerbReplay, events.VerbSkip, events.VerbRecover} {
		s.on(api.CommandEndpoint(verb), "", map[string]any{"accepted": true, "result": "done"})
	}
	looked, whose := `{"id":"`+webhookID+`"}`, integration().ID
	ago := before(2 * time.Hour).UTC().Format(time.RFC3339)
	for _, test := range []struct {
		args []string
		want []string // the requests
	}{
		{[]string{"webhooks", "replay", webhookID}, []string{looked, `{"integration":"` + whose + `","webhook":"` + webhookID + `"}`}},
		{[]string{"webhooks", "replay", "--integration", "docs", "--failed"}, []string{`{"integration":"docs","failed":true}`}},
		{
			[]string{"webhooks", "replay", "--integration", "docs", "--since", "2h", "--until", "2026-01-31T12:00:00+01:00"},
			[]string{`{"integration":"docs","since":"` + ago + `","until":"2026-01-31T11:00:00Z"}`},
		},
		{
			[]string{"webhooks", "skip", webhookID, "--reason", "why", "--by", "ada"},
			[]string{looked, `{"integration":"` + whose + `","webhook":"` + webhookID + `","reason":"why","by":"ada"}`},
		},
		{[]string{"webhooks", "recover", "docs", "--since", "2h"}, []string{`{"integration":"docs","since":"` + ago + `"}`}},
	} {
		t.Run(strings.Join(test.args[1:3], " "), func(t *testing.T) {
			got := s.run(nil, test.args...)
			if got.code != cli.ExitOK {
				t.Fatalf("exit code %d: %s", got.code, got.err)
			}
			for _, want := range test.want {
				if diff := cmp.Diff(decoded(t, want), decoded(t, s.nextAsked())); diff != "" {
					t.Errorf("request (-want +got):\n%s", diff)
				}
			}
		})
	}
	for name, args := range map[string]string{
		"neither":     "webhooks replay",
		"both":        "webhooks replay " + webhookID + " --failed --integration docs",
		"of whom":     "webhooks replay --failed",
		"when":        "webhooks replay --integration docs --since yesterday",
		"no time":     "webhooks recover docs",
		"no status":   "webhooks list --status gone",
		"no limit":    "webhooks list --limit 0",
		"no reason":   "webhooks skip " + webhookID + " --by ada",
		"of nothing":  "webhooks skip " + webhookID + " --by ada --reason=",
		"not the way": "webhooks recover docs --since -2h",
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.run(nil, strings.Fields(args)...); got.code != cli.ExitUsage {
				t.Errorf("exit code %d, want %d: %s", got.code, cli.ExitUsage, got.err)
			}
		})
	}
}
