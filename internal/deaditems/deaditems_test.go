package deaditems_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fixture is an integration with an open run in its second attempt.
type fixture struct {
	store            *postgres.Store
	integration, run uuid.UUID
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{store: postgres.New(pgtest.DB(t), nil), integration: postgres.NewID(), run: postgres.NewID()}
	_, err := f.store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: f.integration, Provider: "shop", Name: "main", Owner: "team", Metadata: json.RawMessage("{}"), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.store.RunInsertMany(t.Context(), dbsqlc.RunInsertManyParams{
		Mode: "full", Cause: "command", Now: now, Ids: []uuid.UUID{f.run}, IntegrationIds: []uuid.UUID{f.integration},
		Traces: []string{""},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Before 2026 attempts are counted one by one.
	early := time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
	for attempt := range int32(2) {
		if _, err := f.store.RunStartAttempt(t.Context(), dbsqlc.RunStartAttemptParams{
			Now: early, ID: f.run,
			Attempt: attempt,
		}); err != nil {
			t.Fatalf("start attempt %d: %v", attempt+1, err)
		}
	}
	return f
}

func (f *fixture) batch(attempt int32) *eventsv1.ItemBatch {
	return &eventsv1.ItemBatch{
		RunId: f.run.String(), Attempt: attempt, Batch: 3, IntegrationId: f.integration.String(),
		Provider: "shop",
	}
}

func (f *fixture) insert(t *testing.T, batch *eventsv1.ItemBatch, dead ...deaditems.Dead) bool {
	t.Helper()
	accepted, err := deaditems.Insert(t.Context(), f.store, now, batch, dead)
	if err != nil {
		t.Fatal(err)
	}
	return accepted
}

// told empties the outbox.
func (f *fixture) told(t *testing.T) (messages []postgres.Outgoing) {
	t.Helper()
	rows, err := f.store.OutboxClaim(t.Context(), dbsqlc.OutboxClaimParams{Away: []string{}, Now: now, Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]uuid.UUID, 0, len(rows))
	for _, row := range rows {
		m, err := postgres.Decode(row)
		if err != nil {
			t.Fatal(err)
		}
		messages, ids = append(messages, m), append(ids, row.ID)
	}
	if _, err := f.store.OutboxDelete(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	return messages
}

func (f *fixture) rows(t *testing.T) []*dbsqlc.DeadListRow {
	t.Helper()
	rows, err := f.store.DeadList(t.Context(), dbsqlc.DeadListParams{
		IntegrationID: &f.integration, AllOfThem: true,
		Most: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func dead(index int32) deaditems.Dead {
	return deaditems.Dead{
		Item: &eventsv1.Item{
			Index: index, EventType: "order", ExternalId: fmt.Sprint("o-", index), Payload: []byte(`{"a":1}`),
			Checkpoint: []byte(`"2026"`), Tries: 5, Hop: 6,
		},
		Reason: "tries used up", Error: "no\x00 luck",
	}
}

func TestInsert(t *testing.T) {
	f := newFixture(t)
	bare := deaditems.Dead{Item: &eventsv1.Item{Index: 9, EventType: "order"}, Reason: "unencodable"}
	if !f.insert(t, f.batch(2), dead(1), bare) {
		t.Fatal("an open run refuses its dead items")
	}
	rows := f.rows(t)
	if len(rows) != 2 {
		t.Fatalf("there are %d rows, want 2", len(rows))
	}
	row, err := f.store.DeadGet(t.Context(), rows[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := `"2026"`
	want := &postgres.DeadItem{
		IntegrationID: f.integration, Provider: "shop", RunID: f.run, Attempt: 2, Batch: 3, ItemIndex: 1,
		EventType: "order", ExternalID: "o-1",
		Payload: []byte(`{"a":1}`), Checkpoint: &checkpoint, Reason: "tries used up", Error: "no� luck", Tries: 5,
		Hop: 6, Status: "open", CreatedAt: now, UpdatedAt: now,
	}
	if diff := cmp.Diff(want, row, cmpopts.IgnoreFields(postgres.DeadItem{}, "ID"),
		cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	if row, err = f.store.DeadGet(t.Context(), rows[0].ID); err != nil || row.Checkpoint != nil ||
		len(row.Payload) != 0 {
		t.Errorf("an item without payload and checkpoint is %+v, %v", row, err)
	}
	messages := f.told(t)
	if len(messages) != 2 {
		t.Fatalf("there are %d events, want 2", len(messages))
	}
	for _, m := range messages {
		if want := events.EventSubject(events.ItemFailed, "shop", f.integration.String()); m.Subject != want {
			t.Errorf("event on %s, want %s", m.Subject, want)
		}
	}
	var event map[string]any
	if err := json.Unmarshal(messages[0].Body, &event); err != nil {
		t.Fatal(err)
	}
	if event["dead_item_id"] == "" || event["reason"] != "tries used up" || event["external_id"] != "o-1" {
		t.Errorf("event says %v", event)
	}
}

func TestInsertAgainChangesNothing(t *testing.T) {
	f := newFixture(t)
	f.insert(t, f.batch(2), dead(1))
	before := f.rows(t)
	f.told(t)
	again := dead(1)
	again.Reason = "another reason"
	if !f.insert(t, f.batch(2), again, dead(2)) {
		t.Error("a repeated insert is not accepted")
	}
	after := f.rows(t)
	if len(after) != 2 {
		t.Fatalf("there are %d rows, want 2", len(after))
	}
	if diff := cmp.Diff(before[0], after[1]); diff != "" {
		t.Errorf("the first row changed:\n%s", diff)
	}
	if messages := f.told(t); len(messages) != 1 {
		t.Errorf("there are %d events, want one of the new row", len(messages))
	}
}

func TestInsertRefused(t *testing.T) {
	tests := []struct {
		name   string
		batch  func(*testing.T, *fixture) *eventsv1.ItemBatch
		broken bool
	}{
		{"older attempt", func(_ *testing.T, f *fixture) *eventsv1.ItemBatch { return f.batch(1) }, false},
		{"attempt to come", func(_ *testing.T, f *fixture) *eventsv1.ItemBatch { return f.batch(3) }, false},
		{"closed run", func(t *testing.T, f *fixture) *eventsv1.ItemBatch {
			t.Helper()
			if _, err := f.store.RunClose(t.Context(), dbsqlc.RunCloseParams{
				ID: f.run, Attempt: 2, State: "cancelled",
				Now: &now,
			}); err != nil {
				t.Fatal(err)
			}
			return f.batch(2)
		}, false},
		{"unknown run", func(_ *testing.T, f *fixture) *eventsv1.ItemBatch {
			b := f.batch(2)
			b.RunId = postgres.NewID().String()
			return b
		}, false},
		{"deleted integration", func(t *testing.T, f *fixture) *eventsv1.ItemBatch {
			t.Helper()
			if _, err := f.store.IntegrationDelete(t.Context(), f.integration); err != nil {
				t.Fatal(err)
			}
			return f.batch(2)
		}, false},
		{"no run id", func(_ *testing.T, f *fixture) *eventsv1.ItemBatch {
			b := f.batch(2)
			b.RunId = "seven"
			return b
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			accepted, err := deaditems.Insert(t.Context(), f.store, now, tt.batch(t, f), []deaditems.Dead{dead(1)})
			if accepted || (err != nil) != tt.broken {
				t.Errorf("accepted %t with error %v", accepted, err)
			}
			if rows, messages := f.rows(t), f.told(t); len(rows)+len(messages) != 0 {
				t.Errorf("refused, and yet there are %d rows and %d events", len(rows), len(messages))
			}
		})
	}
}

func TestInsertOfNothing(t *testing.T) {
	f := newFixture(t)
	if !f.insert(t, f.batch(2)) {
		t.Error("an open run refuses no dead items")
	}
}
