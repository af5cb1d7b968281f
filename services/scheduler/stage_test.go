package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	interval = time.Hour

	done    = eventsv1.OutcomeState_OUTCOME_STATE_DONE
	dead    = eventsv1.OutcomeState_OUTCOME_STATE_DEAD
	skipped = eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED

	retrying = eventsv1.OutcomeState_OUTCOME_STATE_RETRYING
)

// ledger has numbers for checkpoints, of which the greatest becomes the cursor.
type ledger struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.MaxNumber
}

func (ledger) Name() string                           { return "Ledger" }
func (ledger) DefaultSyncInterval() time.Duration     { return interval }
func (ledger) DefaultRateLimit() *contracts.RateLimit { return nil }
func (ledger) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return errors.New("not in these tests")
}

// diary is a ledger whose last checkpoint becomes the cursor, in the order of enumeration.
type diary struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (diary) Name() string                           { return "Diary" }
func (diary) DefaultSyncInterval() time.Duration     { return interval }
func (diary) DefaultRateLimit() *contracts.RateLimit { return nil }
func (diary) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return errors.New("not in these tests")
}

func (diary) ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	return contracts.Cursor(checkpoints[len(checkpoints)-1]), nil
}

// stage is a scheduler with its stores. The test stands for syncers and workers: it starts attempts, and writes what
// became of their items.
type stage struct {
	*fixture
	*platform.Platform
}

func newStage(t *testing.T, adjust func(*platform.Config)) *stage {
	t.Helper()
	return newStageOf(t, map[string]contracts.Provider{"ledger": ledger{}, "diary": diary{}}, func(*stage) {}, adjust)
}

// newStageOf has other providers, and something done before the scheduler starts.
func newStageOf(t *testing.T, providers map[string]contracts.Provider, before func(*stage),
	adjust func(*platform.Config),
) *stage {
	t.Helper()
	s := &stage{fixture: prepare(t)}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = s.server.Connect(), s.pool, s.ring, providers
	var err error
	if s.Platform, err = platform.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	before(s)
	s.startScheduler(t, providers, func(c *platform.Config) {
		c.Scheduler.Tick, c.Scheduler.Sweep = 20*time.Millisecond, 50*time.Millisecond
		c.Control.Housekeeping.Sweep, c.Control.Housekeeping.DirectoryRetry = 50*time.Millisecond, 20*time.Millisecond
		adjust(c)
	})
	s.awaitProviders(t, []map[string]contracts.Provider{providers})
	return s
}

func asIs(*platform.Config) {}

// integration makes one that is not scheduled, with a cursor if one is given. Its name is its id.
func (s *stage) integration(t *testing.T, provider, cursor string) uuid.UUID {
	t.Helper()
	id := postgres.NewID()
	_, err := s.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: id, Provider: provider, Name: id.String(), Metadata: []byte("{}"), Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if cursor != "" {
		s.exec(t, "update integrations set sync_cursor = $2, cursor_version = 1 where id = $1", id, cursor)
	}
	return id
}

func (s *stage) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// command sends a command, which must be accepted, and returns what came of it.
func (s *stage) command(t *testing.T, verb events.Verb, integration uuid.UUID, c *eventsv1.Command) string {
	t.Helper()
	c.Integration = integration.String()
	reply, err := s.Command(t.Context(), verb, c)
	if err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	return reply.GetResult()
}

// begin opens a run by a command and starts its first attempt.
func (s *stage) begin(t *testing.T, integration uuid.UUID, mode string) *postgres.Run {
	t.Helper()
	s.command(t, events.VerbSync, integration, &eventsv1.Command{Mode: mode})
	return s.attempt(t, integration)
}

// scheduled has the integration be due, and starts the first attempt of the run that is opened for it.
func (s *stage) scheduled(t *testing.T, integration uuid.UUID) *postgres.Run {
	t.Helper()
	s.exec(t, "update integrations set next_sync_at = now() - interval '1 second' where id = $1", integration)
	await(t, "a run", func() bool { _, err := s.Store.RunGetOpen(t.Context(), integration); return err == nil })
	return s.attempt(t, integration)
}

// attempt starts the next attempt of the open run, as a syncer does.
func (s *stage) attempt(t *testing.T, integration uuid.UUID) *postgres.Run {
	t.Helper()
	open, err := s.Store.RunGetOpen(t.Context(), integration)
	if err != nil {
		t.Fatal(err)
	}
	run, err := s.Store.RunStartAttempt(t.Context(), dbsqlc.RunStartAttemptParams{
		ID: open.ID, Attempt: open.Attempt, Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// came is what an item came to.
type came struct {
	state      eventsv1.OutcomeState
	checkpoint string
	// id is the external id, for dead ones.
	id string
	// reason is why a handler skipped it.
	reason string
	// unbacked items have neither a receipt nor a row; late ones have the row of a dead item, though they are done.
	unbacked, late bool
}

// total writes the total of an attempt, with the error of its enumeration if that failed.
func (s *stage) total(t *testing.T, run *postgres.Run, items int64, batches int32, enumeration string) {
	t.Helper()
	err := s.Checkpoints.WriteTotal(t.Context(), run.ID.String(), run.Attempt,
		&eventsv1.Total{Items: items, Batches: batches, Error: enumeration})
	if err != nil {
		t.Fatal(err)
	}
}

// batch writes what the items of a batch came to, as a worker does: rows and receipts first.
func (s *stage) batch(t *testing.T, run *postgres.Run, number int32, items ...came) {
	t.Helper()
	batch := &eventsv1.ItemBatch{
		RunId: run.ID.String(), Attempt: run.Attempt, Batch: number,
		IntegrationId: run.IntegrationID.String(), Provider: run.Provider,
	}
	receipt := postgres.Receipt{Run: run.ID, Attempt: run.Attempt, Batch: number}
	entry := &eventsv1.Entry{Size: int32(len(items)), Receipts: true}
	var buried []deaditems.Dead
	for n, item := range items {
		index := int32(n)
		outcome := &eventsv1.Outcome{Index: index, State: item.state, Reason: item.reason}
		if item.state == dead || item.late {
			buried = append(buried, deaditems.Dead{Reason: "permanent", Error: "never", Item: &eventsv1.Item{
				Index: index, EventType: "ledger.Entry", ExternalId: item.id, Payload: []byte("{}"),
				Checkpoint: []byte(item.checkpoint),
			}})
		}
		if item.state != dead {
			outcome.Checkpoint = []byte(item.checkpoint)
			if !item.unbacked && item.state != retrying {
				receipt.Add(index)
			}
		}
		if item.unbacked {
			buried = nil
		}
		entry.Outcomes = append(entry.Outcomes, outcome)
	}
	if len(buried) > 0 {
		if accepted, err := deaditems.Insert(t.Context(), s.Store, time.Now(), batch, buried); err != nil || !accepted {
			t.Fatal(accepted, err)
		}
	}
	err := s.Store.AddReceipts(t.Context(), receipt)
	if err == nil {
		_, err = s.Checkpoints.Merge(t.Context(), checkpoint.Key{
			Run: run.ID.String(), Attempt: run.Attempt,
			Batch: number, Index: checkpoint.First,
		}, entry)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// finish writes all that an attempt with one batch, or none, comes to.
func (s *stage) finish(t *testing.T, run *postgres.Run, items ...came) {
	t.Helper()
	if len(items) == 0 {
		s.total(t, run, 0, 0, "")
		return
	}
	s.batch(t, run, 0, items...)
	s.total(t, run, int64(len(items)), 1, "")
}

func (s *stage) run(t *testing.T, id uuid.UUID) *postgres.Run {
	t.Helper()
	run, err := s.Store.RunGet(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// progress is how far the API says that an open run has come, the same in runs.show and runs.list.
func (s *stage) progress(t *testing.T, run *postgres.Run) string {
	t.Helper()
	shown, err := s.fixture.Run(t.Context(), run.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.fixture.Runs(t.Context(), api.ListRuns{Integration: run.IntegrationID.String(), Open: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Runs) != 1 || shown.Progress == nil || !cmp.Equal(list.Runs[0].Progress, shown.Progress) {
		return ""
	}
	p := shown.Progress
	return fmt.Sprintf("%d finished: %d done, %d skipped, %d dead; %d retrying", p.Finished, p.Done, p.Skipped, p.Dead,
		p.Retrying)
}

// awaitClosed waits until a run is closed.
func (s *stage) awaitClosed(t *testing.T, id uuid.UUID) *postgres.Run {
	t.Helper()
	await(t, "the run to close", func() bool { return s.run(t, id).ClosedAt != nil })
	return s.run(t, id)
}

// wantClosed waits until a run is closed, and compares its end with one such as "partial: 3 items, 1 done, 2 dead, 0
// skipped".
func (s *stage) wantClosed(t *testing.T, id uuid.UUID, want string) {
	t.Helper()
	run := s.awaitClosed(t, id)
	got := fmt.Sprintf("%s: %d items, %d done, %d dead, %d skipped", run.State, run.Items, run.Done,
		run.Dead, run.Skipped)
	if got != want {
		t.Errorf("the run is closed as %q (%s), want %q", got, run.Error, want)
	}
}

// wantCursor compares an integration's cursor; empty means none.
func (s *stage) wantCursor(t *testing.T, integration uuid.UUID, want string) {
	t.Helper()
	row, err := s.Store.IntegrationGet(t.Context(), integration)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if row.SyncCursor != nil {
		got = *row.SyncCursor
	}
	if got != want {
		t.Errorf("the cursor is %q, want %q", got, want)
	}
}

// deadIDs are the dead items of a run in the order of enumeration.
func (s *stage) deadIDs(t *testing.T, run uuid.UUID) []uuid.UUID {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), "select id from dead_items where run_id = $1 order by batch, item_index",
		run)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var ids []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func (s *stage) wantDead(t *testing.T, id uuid.UUID, want string) {
	t.Helper()
	if row, err := s.Store.DeadGet(t.Context(), id); err != nil || row.Status != want {
		t.Errorf("the dead item is %v, %v; want %s", row, err, want)
	}
}

// takeDue waits for the due event of a ledger and takes it off the stream, as a syncer does.
func (s *stage) takeDue(t *testing.T, integration uuid.UUID) *eventsv1.SyncDue {
	t.Helper()
	js, err := s.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	var m *nats.RawStreamMsg
	await(t, "a due event", func() bool {
		m, err = js.GetLastMsg(wire.StreamSync, wire.SyncDueSubject("ledger", integration.String()))
		return err == nil
	})
	if err := js.DeleteMsg(wire.StreamSync, m.Sequence); err != nil {
		t.Fatal(err)
	}
	due := &eventsv1.SyncDue{}
	if err := proto.Unmarshal(m.Data, due); err != nil {
		t.Fatal(err)
	}
	return due
}

// plantItems publishes a message with items of a run, of which no worker takes any here.
func (s *stage) plantItems(t *testing.T, run *postgres.Run) {
	t.Helper()
	m, err := wire.NewWork(itemsOf(run), uuid.NewString(), &eventsv1.ItemBatch{
		RunId: run.ID.String(), Attempt: run.Attempt, Provider: run.Provider,
	})
	if err == nil {
		err = s.Bus.Publish(t.Context(), m)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func itemsOf(run *postgres.Run) string {
	return wire.ItemsSubject(wire.ItemAddress{
		Lane: wire.Bulk, Provider: run.Provider, Integration: run.IntegrationID.String(), Run: run.ID.String(),
		Attempt: run.Attempt,
	})
}

// holdsItems reports whether the items' stream has messages of a run.
func (s *stage) holdsItems(t *testing.T, run *postgres.Run) bool {
	t.Helper()
	held, err := s.Bus.Holds(t.Context(), wire.StreamItems, itemsOf(run))
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// awaitEvents waits for a number of events of a name about a ledger.
func (s *stage) awaitEvents(t *testing.T, name events.Name, integration uuid.UUID, want int) {
	t.Helper()
	subject := events.EventSubject(name, "ledger", integration.String())
	await(t, fmt.Sprintf("%d of %s", want, name), func() bool { return s.arrived(t, subject) == want })
}
