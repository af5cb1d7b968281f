package platform_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// unread is an item of a type without a handler, so that it goes to the table of records. What it holds travels as it
// is.
type unread struct {
	eventType string
	json.RawMessage
}

func (u unread) EventType() string            { return u.eventType }
func (u unread) MarshalJSON() ([]byte, error) { return u.RawMessage, nil }

const canNotBeStored = "can't be stored"

// hostile is a platform that syncs what its test says.
type hostile struct {
	*testing.T
	*platform.Platform
	nc       *nats.Conn
	pool     *pgxpool.Pool
	provider scripted
	id       uuid.UUID
}

// newHostile runs all services with one integration.
func newHostile(t *testing.T, adjust func(*hostile, *platform.Config)) *hostile {
	t.Helper()
	f := &hostile{
		T: t, provider: scripted{script: &script{}}, nc: natstest.New(t).Connect(), pool: pgtest.DB(t),
		id: postgres.NewID(),
	}
	config := platform.Defaults()
	config.NATS, config.Pool = f.nc, f.pool
	config.Providers = map[string]contracts.Provider{"scripted": f.provider}
	config.Scheduler.Tick = 20 * time.Millisecond
	adjust(f, &config)
	var err error
	if f.Platform, err = platform.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Platform.Run(ctx, platform.Services()...) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	_, err = f.Store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{
		ID: f.id, Provider: "scripted", Name: "n",
		Metadata: []byte("{}"), Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sync enumerates items, and returns the run when it is closed, and its dead items by external id.
func (f *hostile) sync(items ...dispatched) (*postgres.Run, map[string]*postgres.DeadItem) {
	f.Helper()
	f.provider.script.mu.Lock()
	f.provider.script.items = items
	f.provider.script.mu.Unlock()
	now := time.Now()
	if err := f.Store.IntegrationSetNextSync(f.Context(), &now, f.id); err != nil {
		f.Fatal(err)
	}
	run := awaitClosed(f.T, f.Platform, dbsqlc.RunListParams{IntegrationID: &f.id, Most: 1})
	return run, f.dead()
}

// dead are all dead items, by external id.
func (f *hostile) dead() map[string]*postgres.DeadItem {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), "select id from dead_items")
	if err != nil {
		f.Fatal(err)
	}
	defer rows.Close()
	var ids []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			f.Fatal(err)
		}
		ids = append(ids, id)
	}
	dead := map[string]*postgres.DeadItem{}
	for _, id := range ids {
		row, err := f.Store.DeadGet(f.Context(), id)
		if err != nil {
			f.Fatal(err)
		}
		dead[row.ExternalID] = row
	}
	return dead
}

// wantDead checks why an item is dead, that no try was made of it, and that its payload is kept.
func (f *hostile) wantDead(dead map[string]*postgres.DeadItem, id, reason, eventType, payload, part string) {
	f.Helper()
	row := dead[id]
	if row == nil {
		f.Errorf("item %q is not dead", id)
		return
	}
	if row.Reason.String() != reason || !strings.Contains(row.Error.String(), part) || row.Tries != 0 || row.Hop != 0 {
		f.Errorf("item %q is dead for %q: %q, after %d tries and %d hops; want %q: %q and none", id, row.Reason,
			row.Error, row.Tries, row.Hop, reason, part)
	}
	if row.EventType != eventType || string(row.Payload) != payload {
		f.Errorf("item %q of type %q is kept with %d bytes of payload, want type %q and %d bytes", id, row.EventType,
			len(row.Payload), eventType, len(payload))
	}
}

// TestItemsThatCanNotBeStored syncs items of which Postgres refuses a part, beside others. The others are stored; those
// are repaired where nothing is lost, or dead at the first look.
func TestItemsThatCanNotBeStored(t *testing.T) {
	t.Parallel()
	f := newHostile(t, func(*hostile, *platform.Config) {})
	deep := strings.Repeat("[", 1001) + strings.Repeat("]", 1001)
	record := func(payload string) unread { return unread{"platform_test.stored", json.RawMessage(payload)} }
	run, dead := f.sync(
		dispatched{record(`{"text":"first"}`), 1, "first"},
		dispatched{unread{"a\x00b", json.RawMessage("{}")}, 2, "type with a zero"},
		dispatched{unread{"a\xe8", json.RawMessage("{}")}, 3, "type in Latin-1"},
		dispatched{unread{strings.Repeat("x", 14<<10), json.RawMessage("{}")}, 4, "long type"},
		dispatched{record("{}"), 5, "zero\x00id"},
		dispatched{record(`{"text":"raw"}`), json.RawMessage("\"6\xe8\""), "checkpoint in Latin-1"},
		dispatched{record(`{"text":"cut \ud83d"}`), 7, "half an emoji"},
		dispatched{record("{\"text\":\"caf\xe9\"}"), 8, "Latin-1"},
		dispatched{record(`{"text":"nul \u0000 here"}`), 9, "zero"},
		dispatched{record(`{"text":1e999999}`), 10, "large number"},
		dispatched{record(deep), 11, "deep"},
		dispatched{record(`{"text":"last"}`), 12, "last"},
	)
	if run.State != "partial" || run.Items != 12 || run.Done != 5 || run.Dead != 7 || run.Attempts != 1 {
		t.Errorf("the run is %s with %d done and %d dead of %d in %d attempts: %s", run.State, run.Done, run.Dead,
			run.Items, run.Attempts, run.Error)
	}
	for id, text := range map[string]string{
		"first": "first", "half an emoji": "cut \ufffd", "Latin-1": "caf\ufffd", "zero": "nul \ufffd here",
		"last": "last",
	} {
		wantRecord(t, f.Platform, f.id, id, text)
	}
	f.wantDead(dead, "type with a zero", deaditems.Invalid, "a\ufffdb", "{}", "the event type")
	f.wantDead(dead, "type in Latin-1", deaditems.Invalid, "a\ufffd", "{}", "the event type")
	f.wantDead(dead, "long type", deaditems.Invalid, strings.Repeat("x", 178)+"… [cut, 14336 bytes]", "{}", "200 bytes")
	f.wantDead(dead, "zero\ufffdid", deaditems.Invalid, "platform_test.stored", "{}", "the external id")
	f.wantDead(dead, "large number", canNotBeStored, "platform_test.stored", `{"text":1e999999}`, "1e999999")
	f.wantDead(dead, "deep", canNotBeStored, "platform_test.stored", deep, "nested deeper")

	// The order of these checkpoints is that of numbers, so that this one is dead for what it is, and not redelivered
	// for its byte.
	if row := dead["checkpoint in Latin-1"]; row == nil || row.Reason != "permanent" || row.Checkpoint == nil ||
		*row.Checkpoint != "\"6\ufffd\"" {
		t.Errorf("the item with a byte that is not UTF-8 in its checkpoint is %+v", row)
	}

	// What has another id than it had is not tried again, for it could be stored in the place of another record.
	reply, err := api.New(f.nc, time.Minute).Command(t.Context(), events.VerbRetry, &eventsv1.Command{
		Integration: "n", Item: dead["zero\ufffdid"].ID.String(),
	})
	if text := reply.GetResult() + fmt.Sprint(err); reply.GetAccepted() ||
		!strings.Contains(text, "can't travel (can't be stored: the external id") {
		t.Errorf("the retry of an item with another id than it had: %q", text)
	}
	// A retry looks at it again, and tells the same.
	id := dead["deep"].ID
	if err := f.nc.Publish(events.CommandSubject(events.VerbRetry, "n"),
		[]byte(`{"item":"`+id.String()+`"}`)); err != nil {
		t.Fatal(err)
	}
	f.await("its end", func() bool {
		row := f.dead()["deep"]
		return row.Status == "open" && !row.UpdatedAt.Equal(dead["deep"].UpdatedAt)
	})
	if again := f.dead()["deep"]; again.Reason != canNotBeStored || string(again.Payload) != deep {
		t.Errorf("after a retry it is dead for %q with %d bytes", again.Reason, len(again.Payload))
	}
}

// TestItemsOfOlderVersions publishes a batch as versions did that looked at no text. What can't be stored of it is dead
// at its first delivery, the rest is stored.
func TestItemsOfOlderVersions(t *testing.T) {
	t.Parallel()
	f := newHostile(t, func(*hostile, *platform.Config) {})
	now := time.Now()
	f.provider.script.mu.Lock() // holds the enumeration for as long as the run has to be open
	defer f.provider.script.mu.Unlock()
	if err := f.Store.IntegrationSetNextSync(t.Context(), &now, f.id); err != nil {
		t.Fatal(err)
	}
	run := f.openRun()
	var p wire.Packer
	for _, item := range []*eventsv1.Item{
		{EventType: "a\xe8", ExternalId: "bad type", Payload: []byte("{}")},
		{EventType: strings.Repeat("x", 14<<10), ExternalId: "long type", Payload: []byte("{}")},
		{EventType: "platform_test.stored", ExternalId: "zero\x00id", Payload: []byte("{}")},
		{EventType: "platform_test.stored", ExternalId: "well", Payload: []byte(`{"text":"well"}`)},
	} {
		p.Add(item)
	}
	subject := wire.ItemsSubject(wire.ItemAddress{
		Lane: wire.Shared, Provider: "scripted", Integration: f.id.String(),
		Run: run.ID.String(), Attempt: run.Attempt,
	})
	m, err := p.Message(subject, "older", &eventsv1.ItemBatch{
		RunId: run.ID.String(), Attempt: run.Attempt, Batch: 0, IntegrationId: f.id.String(), Provider: "scripted",
		FirstAt: timestamppb.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if proto.Unmarshal(m.Body, &eventsv1.ItemBatch{}) == nil {
		t.Error("the message is one that every decoder takes")
	}
	if err := f.Bus.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var dead map[string]*postgres.DeadItem
	f.await("three dead items", func() bool {
		dead = f.dead()
		return len(dead) == 3
	})
	f.wantDead(dead, "bad type", deaditems.Invalid, "a\ufffd", "{}", "the event type")
	f.wantDead(dead, "long type", deaditems.Invalid, strings.Repeat("x", 178)+"… [cut, 14336 bytes]", "{}", "200 bytes")
	f.wantDead(dead, "zero\ufffdid", deaditems.Invalid, "platform_test.stored", "{}", "the external id")
	f.await("the other", func() bool {
		n, err := f.Store.RecordCount(t.Context(), f.id)
		return err == nil && n == 1
	})
	wantRecord(t, f.Platform, f.id, "well", "well")
}

// openRun waits for a run that is being enumerated.
func (f *hostile) openRun() (run *postgres.Run) {
	f.Helper()
	f.await("an open run", func() bool {
		var err error
		run, err = f.Store.RunGetOpen(f.Context(), f.id)
		return err == nil && run.State == "enumerating"
	})
	return run
}

// await looks again and again until something holds, for a minute.
func (f *hostile) await(what string, holds func() bool) {
	f.Helper()
	late := time.After(time.Minute)
	for !holds() {
		select {
		case <-late:
			f.Fatalf("a minute has passed without %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
