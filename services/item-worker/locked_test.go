package itemworker_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestALockedRecordIsPutOff has another session hold a record's row: the others of its batch are stored, and it comes
// again later, which takes no try.
func TestALockedRecordIsPutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, func(c *platform.Config) {
		patientWaits(c)
		c.ItemWorker.LockWait = 100 * time.Millisecond
	})
	batch := records(with(w.open(t, 1), "1", "2", "3"))
	w.exec(t, `insert into records (integration_id, event_type, external_id, payload, run_id, created_at, updated_at)
		values ($1, $2, 'x1', '{}', $3, now(), now())`, batch.GetIntegrationId(), batch.GetItems()[1].GetEventType(), uuid.New())
	lock, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.Background()) }()
	if _, err := lock.Exec(t.Context(), "select 1 from records where external_id = 'x1' for update"); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done, 1: retrying, 2: done})
	w.wantReceipts(t, batch, 0, 2)
}
