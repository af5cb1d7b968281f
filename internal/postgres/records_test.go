package postgres_test

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// TestRecordsGoWithTheirIntegration deletes an integration whose records are being stored by a transaction that has not committed, and goes on
// storing after that.
func TestRecordsGoWithTheirIntegration(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	id := insertIntegration(t, store, "one")
	if changed := upsert(t, store.Queries, id, "a"); changed != 1 {
		t.Fatalf("%d records were stored, want 1", changed)
	}
	deleting, deleted := make(chan struct{}), make(chan error, 1)
	err := store.InTx(t.Context(), func(tx *postgres.Tx) error {
		upsert(t, tx.Queries, id, "b")
		go func() {
			close(deleting)
			_, err := store.IntegrationDelete(context.WithoutCancel(t.Context()), id)
			deleted <- err
		}()
		<-deleting
		upsert(t, tx.Queries, id, "c")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if changed := upsert(t, store.Queries, id, "d"); changed != 0 {
		t.Errorf("%d records were stored for an integration that is gone", changed)
	}
	if n, err := store.RecordCount(t.Context(), id); err != nil || n != 0 {
		t.Errorf("%d records are left, %v", n, err)
	}
}

func upsert(t *testing.T, q *dbsqlc.Queries, id uuid.UUID, externalID string) (changed int) {
	t.Helper()
	rows, err := q.RecordUpsertMany(t.Context(), dbsqlc.RecordUpsertManyParams{
		IntegrationID: id, RunID: postgres.NewID(), Now: now, EventTypes: []string{"e"}, ExternalIds: []string{externalID},
		Payloads: []string{`{}`}, Checkpoints: []string{""}, CheckpointKeys: []string{""},
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

// TestRecordsWithoutAKeyAreStored stores versions of one record: an older one is passed over, and one that can't be compared is not.
func TestRecordsWithoutAKeyAreStored(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	id := insertIntegration(t, store, "one")
	for _, step := range []struct {
		key, payload string
		stored       bool
	}{{"5", "1", true}, {"4", "2", false}, {"", "3", true}, {"6", "4", true}, {"", "4", true}, {"", "4", false}} {
		rows, err := store.RecordUpsertMany(t.Context(), dbsqlc.RecordUpsertManyParams{
			IntegrationID: id, RunID: postgres.NewID(), Now: now, EventTypes: []string{"e"}, ExternalIds: []string{"x"},
			Payloads: []string{step.payload}, Checkpoints: []string{step.key}, CheckpointKeys: []string{step.key},
		})
		if err != nil || (len(rows) == 1) != step.stored {
			t.Errorf("key %q, payload %s: %d rows, %v", step.key, step.payload, len(rows), err)
		}
	}
}
