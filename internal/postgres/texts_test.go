package postgres_test

import (
	"encoding/json"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// TestNoTextFailsAStatement stores what no column takes through every type of argument that the queries have.
func TestNoTextFailsAStatement(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	bad, want := "acc\xe8s\x00 \xed\xa0\xbd ü", "acc\ufffds\ufffd \ufffd ü"
	document := json.RawMessage(`{"a":"` + "\xe8" + `\u0000\ud83d"}`)
	id := postgres.NewID()
	_, err := store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: id, Provider: "shop", Name: bad, Owner: bad, Metadata: document, Now: now,
	})
	if err != nil {
		t.Fatalf("insert: %v", err)
	}
	cursor := bad
	if _, err = store.IntegrationMoveCursor(t.Context(), dbsqlc.IntegrationMoveCursorParams{ID: id, SyncCursor: &cursor, Now: now}); err != nil {
		t.Errorf("a text that may be null: %v", err)
	}
	if _, err = store.IntegrationSetStatus(t.Context(), dbsqlc.IntegrationSetStatusParams{ID: id, Status: "paused", Reason: foreign.Text(bad), Now: now}); err != nil {
		t.Errorf("a foreign text: %v", err)
	}
	err = store.InTx(t.Context(), func(tx *postgres.Tx) error {
		return tx.LogOperations(t.Context(), postgres.Operation{
			Integration: id, Operation: bad, Status: "failed", Subject: bad, ExternalID: bad, Summary: foreign.Text(bad), Error: foreign.Text(bad),
			Details: document, Started: now, Ended: now,
		})
	})
	if err != nil {
		t.Errorf("lists of texts and of documents: %v", err)
	}
	row, err := store.IntegrationGet(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if row.Name != want || row.Owner != want || *row.SyncCursor != want || row.StatusReason.String() != want {
		t.Errorf("stored as %q, %q, %q and %q, want %q", row.Name, row.Owner, *row.SyncCursor, row.StatusReason, want)
	}
	if metadata := string(row.Metadata); metadata != `{"a": "���"}` {
		t.Errorf("the document is stored as %s", metadata)
	}
}
