package platform_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// dispatched is one item that the test wants enumerated.
type dispatched struct {
	event      any
	checkpoint any
	id         string
}

// scripted enumerates what the test says.
type scripted struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.MaxNumber
	script *script
}

type script struct {
	mu    sync.Mutex
	items []dispatched
}

func (scripted) Name() string                           { return "Scripted" }
func (scripted) DefaultSyncInterval() time.Duration     { return time.Hour }
func (scripted) DefaultRateLimit() *contracts.RateLimit { return nil }

func (p scripted) Sync(ctx context.Context, _ *contracts.Integration, session contracts.SyncSession) error {
	p.script.mu.Lock()
	defer p.script.mu.Unlock()
	for _, item := range p.script.items {
		if err := session.Dispatch(ctx, item.event, item.checkpoint, item.id); err != nil {
			return err
		}
	}
	return nil
}

type stored struct {
	Text string `json:"text"`
}

type watched struct {
	Text string `json:"text"`
}

// TestSink stores records beside handled items of one run: each in its newest version, whatever the order, and all that text can hold.
func TestSink(t *testing.T) {
	t.Parallel()
	provider := scripted{script: &script{}}
	var handled atomic.Int64
	config := platform.Defaults()
	nc := natstest.New(t).Connect()
	config.NATS, config.Pool = nc, pgtest.DB(t)
	config.Providers = map[string]contracts.Provider{"scripted": provider}
	config.Scheduler.Tick = 20 * time.Millisecond
	config.Handlers = map[string][]itemworker.ItemHandler{"platform_test.watched": {func(context.Context, *contracts.Integration, []byte) error {
		handled.Add(1)
		return nil
	}}}
	p, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan *nats.Msg, 100)
	if _, err := nc.ChanSubscribe(events.Root+".events."+string(events.RecordsChanged)+".>", changed); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, platform.Services()...) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stopped with %v", err)
		}
	})
	id := postgres.NewID()
	_, err = p.Store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{ID: id, Provider: "scripted", Name: "n", Metadata: []byte("{}"), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	sync := func(items ...dispatched) {
		t.Helper()
		provider.script.mu.Lock()
		provider.script.items = items
		provider.script.mu.Unlock()
		runOnce(t, p, id)
	}

	sync(dispatched{stored{"new"}, 20, "a"}, dispatched{stored{"nul \x00 here"}, 21, "b"}, dispatched{stored{"nameless"}, 22, ""},
		dispatched{stored{"second"}, 9, "c"}, dispatched{stored{"first"}, 10, "c"}, dispatched{watched{"seen"}, 23, "d"})
	wantRecord(t, p, id, "a", "new")
	wantRecord(t, p, id, "b", "nul \ufffd here")
	wantRecord(t, p, id, "c", "first")
	if n, err := p.Store.RecordCount(ctx, id); err != nil || n != 4 {
		t.Errorf("%d records, %v; want 4: the handled item is not among them", n, err)
	}
	if handled.Load() != 1 {
		t.Errorf("%d handled, want 1", handled.Load())
	}
	<-changed

	// An older version of a record never overwrites a newer one; a newer one does.
	sync(dispatched{stored{"old"}, 3, "a"}, dispatched{stored{"newer"}, 100, "b"})
	wantRecord(t, p, id, "a", "new")
	wantRecord(t, p, id, "b", "newer")
	var event struct {
		Records []struct {
			ExternalID string `json:"external_id"`
		} `json:"records"`
	}
	if err := json.Unmarshal((<-changed).Data, &event); err != nil {
		t.Fatal(err)
	}
	if len(event.Records) != 1 || event.Records[0].ExternalID != "b" {
		t.Errorf("the event tells of %+v, want b alone", event.Records)
	}
}

// runOnce has the integration synced, and waits for the end.
func runOnce(t *testing.T, p *platform.Platform, id uuid.UUID) {
	t.Helper()
	ctx := t.Context()
	now := time.Now()
	if err := p.Store.IntegrationSetNextSync(ctx, &now, id); err != nil {
		t.Fatal(err)
	}
	for {
		runs, err := p.Store.RunList(ctx, dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 1 && !runs[0].CreatedAt.Before(now.Truncate(time.Microsecond)) && runs[0].ClosedAt != nil {
			if runs[0].State != "succeeded" {
				t.Fatalf("run %s: %s", runs[0].State, runs[0].Error)
			}
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

func wantRecord(t *testing.T, p *platform.Platform, id uuid.UUID, externalID, text string) {
	t.Helper()
	row, err := p.Store.RecordGet(t.Context(), dbsqlc.RecordGetParams{IntegrationID: id, EventType: "platform_test.stored", ExternalID: externalID})
	if err != nil {
		t.Errorf("record %s: %v", externalID, err)
		return
	}
	var got stored
	if err := json.Unmarshal(row.Payload, &got); err != nil || got.Text != text {
		t.Errorf("record %s is %q, %v; want %q", externalID, got.Text, err, text)
	}
}
