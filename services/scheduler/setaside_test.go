package scheduler_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// empty is shop with an enumeration that finds nothing.
type empty struct{ shop }

func (empty) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

// hasty looks for silent runs often.
func hasty(c *platform.Config) {
	patient(c)
	c.Scheduler.Silent, c.Scheduler.Sweep = 100*time.Millisecond, 50*time.Millisecond
}

// startSyncer runs a syncer until the test ends.
func (f *fixture) startSyncer(t *testing.T, providers map[string]contracts.Provider) {
	t.Helper()
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = f.server.Connect(), f.pool, f.ring, providers
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	run(t, built, platform.SyncerService)
}

// refuse has Postgres refuse changes of an integration's rows of a table, where a condition holds, until it is mended.
func (f *fixture) refuse(t *testing.T, table, column, integration, condition string) (mend func()) {
	t.Helper()
	exec := func(statement string) {
		t.Helper()
		if _, err := f.pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(fmt.Sprintf(`create or replace function refuse_%[1]s() returns trigger language plpgsql as $$ begin
		if new.%[2]s = '%[3]s' and %[4]s then raise exception 'index row size exceeds maximum' using errcode = '54000'; end if;
		return new; end $$`, table, column, integration, condition))
	exec(fmt.Sprintf("create trigger refuse before insert or update on %[1]s for each row execute function refuse_%[1]s()", table))
	return func() { exec("drop trigger refuse on " + table) }
}

// byKind lists what is failing, by kind.
func (f *fixture) byKind(t *testing.T) map[string]api.SetAside {
	t.Helper()
	page, err := f.SetAside(t.Context(), api.ListSetAside{All: true})
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string]api.SetAside{}
	for _, a := range page.SetAside {
		byKind[a.Kind] = a
	}
	return byKind
}

// closedRuns counts an integration's closed runs.
func (f *fixture) closedRuns(t *testing.T, integration string) (n int) {
	t.Helper()
	err := f.pool.QueryRow(t.Context(), "select count(*) from sync_runs where integration_id = $1 and closed_at is not null", integration).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRunThatCanNotBeClosed has Postgres refuse the end of the oldest run. Younger ones close, and it is listed; once it can be closed, it is.
func TestRunThatCanNotBeClosed(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	providers := map[string]contracts.Provider{"shop": empty{}}
	f.startScheduler(t, providers, hasty)
	f.awaitProviders(t, []map[string]contracts.Provider{providers})
	bad := f.mustCreate(t, newShop("bad"))
	mend := f.refuse(t, "sync_runs", "integration_id", bad.ID, "new.closed_at is not null")
	f.startSyncer(t, providers)
	await(t, "the run to fail to close", func() bool { return f.byKind(t)["close-run"].Tries > 0 })
	for n := range 3 {
		good := f.mustCreate(t, newShop(fmt.Sprint("good", n)))
		await(t, "another run to close", func() bool { return f.closedRuns(t, good.ID) > 0 })
	}
	if failing := f.byKind(t)["close-run"]; failing.Tries == 0 || f.closedRuns(t, bad.ID) != 0 {
		t.Errorf("failing: %+v", failing)
	}
	mend()
	f.elapse(t)
	await(t, "the run to close", func() bool { return f.closedRuns(t, bad.ID) == 1 })
	await(t, "an empty list", func() bool { return len(f.byKind(t)) == 0 })
}
