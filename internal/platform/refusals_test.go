package platform_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// refusals is a platform whose stores can be made to refuse what becomes of items: of 40, the one with the number 7 is dead, and 3 others fail once.
type refusals struct {
	*testing.T
	*platform.Platform
	pool    *pgxpool.Pool
	nc      *nats.Conn
	metrics *prometheus.Registry
	id      uuid.UUID
	// calls of the handler, by number, and begun when the first handler was called; they go on when it is opened.
	calls [40]atomic.Int32
	begun chan struct{}
	gate  chan struct{}
}

const failOnce = 3

func newRefusals(t *testing.T) *refusals {
	t.Helper()
	f := &refusals{T: t, pool: pgtest.DB(t), metrics: prometheus.NewRegistry(), begun: make(chan struct{}, 100), gate: make(chan struct{})}
	f.nc = natstest.New(t).Connect()
	var err error
	config := platform.Defaults()
	config.NATS, config.Pool, config.Metrics = f.nc, f.pool, f.metrics
	config.Providers = map[string]contracts.Provider{"numbers": numbers{n: len(f.calls)}}
	config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(number{}): {f.handle}}
	config.Scheduler.Tick = 20 * time.Millisecond
	config.ItemWorker.Progress = 50 * time.Millisecond
	config.ItemWorker.Backoff = []time.Duration{time.Second}
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
	now := time.Now()
	f.id = postgres.NewID()
	_, err = f.Store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{ID: f.id, Provider: "numbers", Name: "n", Metadata: []byte("{}"), NextSyncAt: &now, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *refusals) handle(ctx context.Context, _ *contracts.Integration, payload []byte) error {
	var n int
	if _, err := fmt.Sscanf(string(payload), `{"N":%d}`, &n); err != nil {
		return err
	}
	call := f.calls[n].Add(1)
	f.begun <- struct{}{}
	select {
	case <-f.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case n == 7:
		return contracts.Permanent(errors.New("never"))
	case n >= 10 && n < 10+failOnce && call == 1:
		return errors.New("not yet")
	}
	return nil
}

func (f *refusals) exec(sql string) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql); err != nil {
		f.Fatal(err)
	}
}

// refuse has Postgres refuse rows of a table, with an error code, until the returned function is called.
func (f *refusals) refuse(table, code string) (mend func()) {
	f.Helper()
	f.exec(fmt.Sprintf(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused' using errcode = '%s'; end $$`, code))
	f.exec("create trigger refuse before insert on " + table + " for each row execute function refuse()")
	return func() { f.exec("drop trigger refuse on " + table) }
}

// limit has NATS refuse items of more than some bytes.
func (f *refusals) limit(bytes int) {
	f.Helper()
	ask := func(verb string, body []byte) (answer struct {
		Config map[string]any
		Error  any
	},
	) {
		m, err := f.nc.Request("$JS.API.STREAM."+verb+"."+wire.StreamItems, body, time.Minute)
		if err == nil {
			err = json.Unmarshal(m.Data, &answer)
		}
		if err != nil || answer.Error != nil {
			f.Fatal(verb, err, answer.Error)
		}
		return answer
	}
	config := ask("INFO", nil).Config
	config["max_msg_size"] = bytes
	body, err := json.Marshal(config)
	if err != nil {
		f.Fatal(err)
	}
	ask("UPDATE", body)
}

func (f *refusals) await(what string, holds func() bool) {
	f.Helper()
	for !holds() {
		select {
		case <-f.Context().Done():
			f.Fatalf("the test ended before: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// unwritten is the gauge of outcomes that wait for a store.
func (f *refusals) unwritten() float64 {
	families, err := f.metrics.Gather()
	if err != nil {
		f.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == "tributary_item_worker_unwritten_items" {
			for _, m := range family.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// outcomes counts the items of the run by what the bucket calls them.
func (f *refusals) outcomes() map[eventsv1.OutcomeState]int {
	f.Helper()
	run, err := f.Store.RunGetOpen(f.Context(), f.id)
	if err != nil {
		f.Fatal(err)
	}
	items := map[int32]eventsv1.OutcomeState{}
	err = f.Checkpoints.ReadAll(f.Context(), run.ID.String(), run.Attempt, func(u checkpoint.Update) {
		for index, state := range checkpoint.States(u.Entry) {
			at := 1000*u.Key.Batch + index
			items[at] = max(items[at], state)
		}
	})
	if err != nil {
		f.Fatal(err)
	}
	counts := map[eventsv1.OutcomeState]int{}
	for _, state := range items {
		counts[state]++
	}
	return counts
}

// wantEachOnce waits for the end of the run, and checks that no handler was called again but for the items that failed once.
func (f *refusals) wantEachOnce() {
	f.Helper()
	run := awaitClosed(f.T, f.Platform, dbsqlc.RunListParams{IntegrationID: &f.id, Most: 1})
	if run.State != "partial" || run.Items != int64(len(f.calls)) || run.Done != int64(len(f.calls)-1) || run.Dead != 1 || run.Attempts != 1 {
		f.Errorf("the run is %s with %d of %d items done and %d dead in %d attempts: %s", run.State, run.Done, run.Items, run.Dead, run.Attempts, run.Error)
	}
	for n := range f.calls {
		want := int32(1)
		if n >= 10 && n < 10+failOnce {
			want = 2
		}
		if calls := f.calls[n].Load(); calls != want {
			f.Errorf("the handler was called %d times for item %d, want %d", calls, n, want)
		}
	}
	left := 0
	if err := f.pool.QueryRow(f.Context(), "select count(*) from receipts").Scan(&left); err != nil || left != 0 {
		f.Errorf("%d receipts are left, %v", left, err)
	}
}

// TestRefusedOutcomesWait has Postgres refuse what became of items, for some time. What can be written is, what can't be waits, and no handler is called again.
func TestRefusedOutcomesWait(t *testing.T) {
	t.Parallel()
	done, dead := eventsv1.OutcomeState_OUTCOME_STATE_DONE, eventsv1.OutcomeState_OUTCOME_STATE_DEAD
	for name, tt := range map[string]struct {
		table, code string
		// meanwhile is what is in the bucket while Postgres refuses.
		meanwhile map[eventsv1.OutcomeState]int
	}{
		"a dead row, for what it has":              {"dead_items", "P0001", map[eventsv1.OutcomeState]int{done: 39}},
		"a dead row, as all writes":                {"dead_items", "25006", map[eventsv1.OutcomeState]int{done: 39}},
		"receipts, as all writes":                  {"receipts", "25006", map[eventsv1.OutcomeState]int{dead: 1}},
		"receipts, for what nobody has thought of": {"receipts", "XX000", map[eventsv1.OutcomeState]int{dead: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newRefusals(t)
			<-f.begun
			mend := f.refuse(tt.table, tt.code)
			close(f.gate)
			f.await("outcomes that wait", func() bool { return f.unwritten() > 0 })
			f.await("what can be written", func() bool {
				got := f.outcomes()
				for state, n := range tt.meanwhile {
					if got[state] < n {
						return false
					}
				}
				return true
			})
			mend()
			f.wantEachOnce()
			f.await("nothing to wait any more", func() bool { return f.unwritten() == 0 })
		})
	}
}

// TestRefusedRetriesWait has NATS refuse the messages that bring items again, for some time.
func TestRefusedRetriesWait(t *testing.T) {
	t.Parallel()
	f := newRefusals(t)
	<-f.begun
	f.await("all batches to be there", func() bool {
		run, err := f.Store.RunGetOpen(t.Context(), f.id)
		return err == nil && run.State == "working"
	})
	f.limit(10)
	close(f.gate)
	f.await("retries that wait", func() bool { return f.unwritten() == failOnce })
	want := map[eventsv1.OutcomeState]int{eventsv1.OutcomeState_OUTCOME_STATE_DONE: 36, eventsv1.OutcomeState_OUTCOME_STATE_DEAD: 1}
	f.await("the outcomes of the others", func() bool { return fmt.Sprint(f.outcomes()) == fmt.Sprint(want) })
	f.limit(-1)
	f.wantEachOnce()
}

// TestDatabaseIsReadOnly turns the database read-only for as long as outcomes wait, as a failover that is under way does.
func TestDatabaseIsReadOnly(t *testing.T) {
	t.Parallel()
	f := newRefusals(t)
	<-f.begun
	var name string
	if err := f.pool.QueryRow(t.Context(), "select current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	set := func(value string) {
		t.Helper()
		f.await("the setting to be taken", func() bool {
			_, err := f.pool.Exec(t.Context(), "begin read write; alter database "+name+" set default_transaction_read_only = "+value+"; commit")
			return err == nil
		})
		_, _ = f.pool.Exec(t.Context(), "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()", name)
		f.pool.Reset()
	}
	set("on")
	close(f.gate)
	f.await("outcomes that wait", func() bool { return f.unwritten() > 0 })
	set("off")
	f.wantEachOnce()
}

// TestRedriveIsNotRepeated has Postgres refuse the fate of a dead item that is given another go.
func TestRedriveIsNotRepeated(t *testing.T) {
	t.Parallel()
	f := newRefusals(t)
	<-f.begun
	close(f.gate)
	f.wantEachOnce()
	f.exec(`create function refuse() returns trigger language plpgsql as $$ begin
	    if new.status = 'open' and old.status = 'redriving' then raise exception 'refused'; end if; return new; end $$`)
	f.exec("create trigger refuse before update on dead_items for each row execute function refuse()")
	if err := f.nc.Publish(events.CommandSubject(events.VerbRetry, "n"), []byte(`{"all":true}`)); err != nil {
		t.Fatal(err)
	}
	f.await("the fate that waits", func() bool { return f.unwritten() == 1 })
	f.exec("drop trigger refuse on dead_items")
	f.await("the item to be dead again", func() bool {
		rows, err := f.Store.DeadList(t.Context(), dbsqlc.DeadListParams{IntegrationID: &f.id, Most: 10})
		return err == nil && len(rows) == 1 && rows[0].Status == "open" && strings.Contains(rows[0].Error.String(), "never")
	})
	if calls := f.calls[7].Load(); calls != 2 {
		t.Errorf("the handler was called %d times, want once for the redrive", calls)
	}
}
