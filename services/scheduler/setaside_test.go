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

// refuse has Postgres refuse rows of a table that fulfil a condition, until it is mended.
func (f *fixture) refuse(t *testing.T, table, condition string) (mend func()) {
	t.Helper()
	f.exec(t, fmt.Sprintf(`create or replace function refuse_%[1]s() returns trigger language plpgsql as $$ begin
		if %[2]s then raise exception 'index row size exceeds maximum' using errcode = '54000'; end if;
		return new; end $$`, table, condition))
	f.exec(t, fmt.Sprintf("create trigger refuse before insert or update on %[1]s for each row execute function refuse_%[1]s()", table))
	return func() { f.exec(t, "drop trigger refuse on "+table) }
}

func (f *fixture) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := f.pool.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
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
	mend := f.refuse(t, "sync_runs", fmt.Sprintf("new.integration_id = '%s' and new.closed_at is not null", bad.ID))
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

// TestOneOfABatchCanNotBeDone has Postgres refuse what is to be done for one integration, in lists that are done with one transaction for many. The others are
// done, it is listed, and once it can be done it is.
func TestOneOfABatchCanNotBeDone(t *testing.T) {
	t.Parallel()
	for kind, test := range map[string]struct {
		// prepare brings integrations to the point where something is to be done for all of them.
		prepare string
		// refused is the table and the condition of the row that Postgres refuses; %s is the integration.
		table, refused string
		// done counts what was done for an integration.
		done string
	}{
		"open-run": {
			"update integrations set next_sync_at = now()", "sync_runs", "new.integration_id = '%s'",
			"select count(*) from sync_runs where integration_id = $1",
		},
		"wake-run": {
			`insert into sync_runs (id, integration_id, provider, mode, cause, state, waiting_until, heartbeat_at, window_from, cursor_version, created_at)
			select gen_random_uuid(), id, provider, 'full', 'command', 'waiting', now(), now(), now(), 0, now() from integrations`,
			"sync_runs", "tg_op = 'UPDATE' and new.integration_id = '%s' and new.state <> 'waiting'",
			"select count(*) from sync_runs where integration_id = $1 and state <> 'waiting'",
		},
		"mark-stale": {
			"update integrations set created_at = now() - interval '1 year', next_sync_at = now() + interval '1 day'",
			"outbox", "new.subject like '%%sync-stale%%' and new.subject like '%%%s%%'",
			"select count(*) from integrations where id = $1 and stale_since is not null",
		},
		"end-override": {
			"update integrations set circuit_override = 'forced-open', circuit_until = now(), next_sync_at = null",
			"integrations", "new.id = '%s' and new.circuit_until is null",
			"select count(*) from integrations where id = $1 and circuit_until is null",
		},
		"end-wait": {
			"insert into waits_ended (integration_id, cause, at) select id, 'token', now() from integrations",
			"waits_ended", "tg_op = 'UPDATE' and new.integration_id = '%s'",
			"select 1 - count(*) from waits_ended where integration_id = $1 and passes = 0",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := prepare(t)
			providers := map[string]contracts.Provider{"shop": empty{}}
			f.startScheduler(t, providers, func(c *platform.Config) {
				patient(c)
				c.Scheduler.Sweep = 50 * time.Millisecond
			})
			f.awaitProviders(t, []map[string]contracts.Provider{providers})
			var ids []string
			f.exec(t, "create function held() returns trigger language plpgsql as $$ begin new.next_sync_at = null; return new; end $$")
			f.exec(t, "create trigger held before insert on integrations for each row execute function held()")
			for n := range 5 {
				ids = append(ids, f.mustCreate(t, newShop(fmt.Sprint("shop", n))).ID)
			}
			bad := ids[0]
			mend := f.refuse(t, test.table, fmt.Sprintf(test.refused, bad))
			f.exec(t, test.prepare)
			done := func(id string) (n int) {
				if err := f.pool.QueryRow(t.Context(), test.done, id).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			for _, id := range ids[1:] {
				await(t, "another to be done", func() bool { return done(id) == 1 })
			}
			await(t, "the failure to be listed", func() bool { return f.byKind(t)[kind].Tries > 0 })
			if failing := f.byKind(t); len(failing) != 1 || failing[kind].IntegrationID != bad && kind != "wake-run" || done(bad) != 0 {
				t.Errorf("failing: %+v; done %d", failing, done(bad))
			}
			mend()
			f.elapse(t)
			await(t, "the bad one to be done", func() bool { return done(bad) == 1 })
			await(t, "an empty list", func() bool { return len(f.byKind(t)) == 0 })
		})
	}
}
