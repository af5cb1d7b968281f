package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// partial makes a closed run of an integration with one dead item for each payload, and returns the ids of these.
func (f *fixture) partial(t *testing.T, integration string, payloads ...[]byte) (run uuid.UUID, dead []uuid.UUID) {
	t.Helper()
	id, now := uuid.MustParse(integration), time.Now()
	// A new integration is due at once; nothing enumerates the run.
	for _, sql := range []string{"update integrations set next_sync_at = null where id = $1", "delete from sync_runs where integration_id = $1"} {
		if _, err := f.pool.Exec(t.Context(), sql, id); err != nil {
			t.Fatal(err)
		}
	}
	run = postgres.NewID()
	_, err := f.pool.Exec(t.Context(), `insert into sync_runs (id, integration_id, provider, mode, cause, state, attempt, window_from, heartbeat_at, cursor_version, created_at, closed_at, complete, dead)
		select $1, i.id, i.provider, 'full', 'command', 'partial', 1, $3, $3, i.cursor_version, $3, $3, true, $4 from integrations i where i.id = $2`, run, id, now, len(payloads))
	if err != nil {
		t.Fatal(err)
	}
	p := dbsqlc.DeadInsertManyParams{IntegrationID: id, Provider: "shop", RunID: run, Attempt: 1, Now: now}
	for n, payload := range payloads {
		dead = append(dead, postgres.NewID())
		p.Ids, p.Batches, p.ItemIndexes = append(p.Ids, dead[n]), append(p.Batches, int32(n)), append(p.ItemIndexes, 0)
		p.EventTypes, p.ExternalIds, p.Payloads = append(p.EventTypes, "shop.Order"), append(p.ExternalIds, "o"), append(p.Payloads, payload)
		p.Checkpoints, p.Reasons, p.Errors = append(p.Checkpoints, `"2026-01-02T00:00:00Z"`), append(p.Reasons, "too large"), append(p.Errors, "")
		p.Tries, p.Hops = append(p.Tries, 1), append(p.Hops, 0)
	}
	if _, err := f.store.DeadInsertMany(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return run, dead
}

// TestRetryOfItemsThatCanNotTravel retries one item that no message holds, and all with it among them.
func TestRetryOfItemsThatCanNotTravel(t *testing.T) {
	t.Parallel()
	f := start(t, map[string]contracts.Provider{"shop": shop{}})
	integration := f.mustCreate(t, newShop("north"))
	_, dead := f.partial(t, integration.ID, make([]byte, 3<<20), []byte("{}"))
	large := dead[0]
	_, err := f.Command(t.Context(), events.VerbRetry, &eventsv1.Command{Integration: "north", Item: large.String()})
	wantCode(t, err, api.Refused, "can't travel")
	reply, err := f.Command(t.Context(), events.VerbRetry, &eventsv1.Command{Integration: "north", All: true})
	if err != nil || !strings.Contains(reply.GetResult(), "retrying 1 items") || !strings.Contains(reply.GetResult(), "1 stay dead because they can't travel") {
		t.Errorf("all are retried with %v, %v", reply, err)
	}
	for n, want := range []string{"open", "redriving"} {
		if row, err := f.store.DeadGet(t.Context(), dead[n]); err != nil || row.Status != want {
			t.Errorf("item %d is %v, want %s", n, row, want)
		}
	}
	await(t, "an empty outbox", func() bool { _, err := f.store.OutboxLag(t.Context()); return postgres.NotFound(err) })
	_, err = f.Command(t.Context(), events.VerbRetry, &eventsv1.Command{Integration: "north", All: true})
	wantCode(t, err, api.Refused, "none of the 1 open items can travel")
}

// TestSkipTakesEffectAtOnce asks for the run and the cursor as soon as the command has answered.
func TestSkipTakesEffectAtOnce(t *testing.T) {
	t.Parallel()
	f := start(t, map[string]contracts.Provider{"shop": shop{}})
	integration := f.mustCreate(t, newShop("north"))
	run, dead := f.partial(t, integration.ID, []byte("{}"), []byte("{}"))
	for n, id := range dead {
		_, err := f.Command(t.Context(), events.VerbSkip, &eventsv1.Command{Integration: "north", Item: id.String(), By: "ann", Reason: "of no use"})
		if err != nil {
			t.Fatal(err)
		}
		row, err := f.store.RunGet(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		if last := n == len(dead)-1; (row.Resolution == "resolved") != last {
			t.Errorf("after skip %d the run is %q", n, row.Resolution)
		}
	}
	cursor, err := f.Cursor(t.Context(), "north")
	if err != nil || string(cursor.Cursor) != `"2026-01-02T00:00:00Z"` {
		t.Errorf("the cursor is %s, %v", cursor.Cursor, err)
	}
}
