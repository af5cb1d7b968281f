package webhookwork_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/tributaryhq/tributary/internal/webhookwork"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestWebhooksTellNoSecrets checks what is kept of what a webhook's handler says: no credential, and nothing that its
// name makes a secret.
func TestWebhooksTellNoSecrets(t *testing.T) {
	t.Parallel()
	in := contracts.NewIntegration(
		contracts.IntegrationFields{Credentials: json.RawMessage(`{"a":"credential-value"}`)})
	const said, want = "sent credential-value and token=4242 to x", "sent [REDACTED] and token=[REDACTED] to x"
	if reason, _ := webhookwork.Told(in, contracts.Skip(said)); reason != want {
		t.Errorf("the reason of a skip is %q, want %q", reason, want)
	}
	for name, err := range map[string]error{
		"a failure":       errors.New(said),
		"a permanent one": contracts.Permanent(errors.New(said)), "one within": fmt.Errorf("%w", errors.New(said)),
	} {
		if _, text := webhookwork.Told(in, err); text != want {
			t.Errorf("%s is %q, want %q", name, text, want)
		}
	}
	result := map[string]any{
		"token": "4242", "sent": "credential-value",
		"of": []any{map[string]any{"n": 7, "password": "p"}},
	}
	if got, want := webhookwork.Kept(in, result),
		`{"of":[{"n":7,"password":"[REDACTED]"}],"sent":"[REDACTED]","token":"[REDACTED]"}`; got != want {
		t.Errorf("kept of a result is %s, want %s", got, want)
	}
	pin := contracts.NewIntegration(contracts.IntegrationFields{Credentials: json.RawMessage(`{"a":"12345678"}`)})
	if got := webhookwork.Kept(pin, map[string]int{"n": 12345678}); got != `"[REDACTED]"` {
		t.Errorf("kept of a result with a credential that is a number is %s", got)
	}
	if got := webhookwork.Kept(in, nil); got != "" {
		t.Errorf("kept of no result is %q", got)
	}
}
