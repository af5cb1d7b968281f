package scheduler_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// TestWhatWebhooksWaitForIsShown lists one that waits for a handler, and those of its order that wait behind it.
func TestWhatWebhooksWaitForIsShown(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "")
	var ids []uuid.UUID
	for n, row := range []struct{ key, status, waitsFor string }{
		{"a", "processed", ""}, {"a", "pending", "handler"}, {"a", "pending", ""}, {"b", "pending", ""}, {"a", "pending", ""}, {"", "pending", "token"},
	} {
		ids = append(ids, postgres.NewID())
		s.exec(t, `insert into webhooks (id, integration_id, provider, delivery_id, copy, event_type, ordering_key, sequence, method, path, query,
				headers, body, key_id, sealed, next_try_at, received_at, stored_at, status, waiting_for)
			values ($1, $2, 'ledger', $3, 0, 'entry', $4, $5, 'POST', '/', '', '{}', '', '', '', now() + interval '1 hour', now(), now(), $6, $7)`,
			ids[n], integration, ids[n].String(), row.key, n, row.status, row.waitsFor)
	}
	type waits struct{ For, Behind string }
	want := []waits{{"token", ""}, {"", ids[1].String()}, {}, {"", ids[1].String()}, {"handler", ""}, {}}
	page, err := s.Webhooks(t.Context(), api.ListWebhooks{})
	if err != nil {
		t.Fatal(err)
	}
	var listed, shown []waits
	for _, h := range page.Webhooks {
		one, err := s.Webhook(t.Context(), h.ID)
		if err != nil {
			t.Fatal(err)
		}
		listed, shown = append(listed, waits{h.WaitingFor, h.Behind}), append(shown, waits{one.WaitingFor, one.Behind})
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("listed: %s", diff)
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("shown: %s", diff)
	}
}
