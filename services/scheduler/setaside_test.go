package scheduler_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// empty is shop with an enumeration that finds nothing.
type empty struct{ shop }

func (empty) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

// hasty looks for silent runs often.
func hasty(c *platform.Config) {
	patient(c)
	c.Scheduler.Silent, c.Scheduler.Sweep, c.Control.Housekeeping.Sweep = 100*time.Millisecond, 50*time.Millisecond,
		50*time.Millisecond
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
	f.exec(t, fmt.Sprintf("create trigger refuse before insert or update on %[1]s for each row execute function "+
		"refuse_%[1]s()", table))
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
	err := f.pool.QueryRow(t.Context(), "select count(*) from sync_runs where integration_id = $1 and closed_at is "+
		"not null", integration).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRunThatCanNotBeClosed has Postgres refuse the end of the oldest run. Younger ones close, and it is listed; once
// it can be closed, it is.
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

// TestOneOfABatchCanNotBeDone has Postgres refuse what is to be done for one integration, in lists that are done with
// one transaction for many. The others are done, it is listed, and once it can be done it is.
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
		"resolve-run": {
			`insert into sync_runs (id, integration_id, provider, mode, cause, state, complete, closed_at, heartbeat_at, window_from, cursor_version, created_at)
			select gen_random_uuid(), id, provider, 'full', 'command', 'partial', true, now(), now(), now(), 0, now() from integrations`,
			"sync_runs", "new.integration_id = '%s' and new.resolved_at is not null",
			"select count(*) from sync_runs where integration_id = $1 and resolved_at is not null",
		},
		"free-entries": {
			`insert into sync_runs (id, integration_id, provider, mode, cause, state, closed_at, heartbeat_at, window_from, cursor_version, created_at)
			select gen_random_uuid(), id, provider, 'full', 'command', 'succeeded', now() - interval '1 hour', now(), now(), 0, now() from integrations`,
			"sync_runs", "new.integration_id = '%s' and new.entries_freed_at is not null",
			"select count(*) from sync_runs where integration_id = $1 and entries_freed_at is not null",
		},
		"mark-silent": {
			"insert into webhook_sources (integration_id, last_received_at) select id, now() - interval '1 year' " +
				"from integrations",
			"outbox", "new.subject like '%%webhooks-silent%%' and new.subject like '%%%s%%'",
			"select count(*) from webhook_sources where integration_id = $1 and silent_since is not null",
		},
		"judge-rate": {
			`insert into request_counts (integration_id, grain, starts_at, succeeded, upstream, throttle, client, unknown, cached, duration_ms)
			select id, 'minute', date_trunc('minute', now()), 0, 1000, 0, 0, 0, 0, 0 from integrations`,
			"outbox", "new.subject like '%%failure-rate-elevated%%' and new.subject like '%%%s%%'",
			"select count(*) from integrations where id = $1 and failure_rate_since is not null",
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
				c.Scheduler.Sweep, c.Control.Housekeeping.Sweep, c.Control.Housekeeping.Health = 50*time.Millisecond,
					50*time.Millisecond, 50*time.Millisecond
			})
			f.awaitProviders(t, []map[string]contracts.Provider{providers})
			var ids []string
			f.exec(t, "create function held() returns trigger language plpgsql as $$ begin new.next_sync_at = null; "+
				"return new; end $$")
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
			if failing := f.byKind(t); len(failing) != 1 || failing[kind].IntegrationID != bad && kind != "wake-run" ||
				done(bad) != 0 {
				t.Errorf("failing: %+v; done %d", failing, done(bad))
			}
			mend()
			f.elapse(t)
			await(t, "the bad one to be done", func() bool { return done(bad) == 1 })
			await(t, "an empty list", func() bool { return len(f.byKind(t)) == 0 })
		})
	}
}

// TestOneDeletedIntegrationCanNotBePurged has Postgres refuse to forget one deleted integration: the others are
// forgotten.
func TestOneDeletedIntegrationCanNotBePurged(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.startScheduler(t, map[string]contracts.Provider{"shop": empty{}}, func(c *platform.Config) {
		patient(c)
		c.Control.Housekeeping.Sweep = 50 * time.Millisecond
	})
	f.exec(t, `create function refuse_purge() returns trigger language plpgsql as $$ begin
		if old.integration_id::text like 'bad%' then raise exception 'refused' using errcode = '54000'; end if;
		return old; end $$`)
	f.exec(t,
		"create trigger refuse before delete on deleted_integrations for each row execute function refuse_purge()")
	f.exec(t, `insert into deleted_integrations (integration_id, deleted_at) values
		('bad00000-0000-0000-0000-000000000000', now() - interval '3 hours'),
		('00000000-0000-0000-0000-000000000001', now() - interval '2 hours'),
		('00000000-0000-0000-0000-000000000002', now() - interval '2 hours')`)
	left := func() (n int) {
		if err := f.pool.QueryRow(t.Context(), "select count(*) from deleted_integrations").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	await(t, "the others to be forgotten", func() bool { return left() == 1 })
	await(t, "the failure to be listed", func() bool { return f.byKind(t)["purge-deleted"].Tries > 0 })
	f.exec(t, "drop trigger refuse on deleted_integrations")
	f.elapse(t)
	await(t, "the bad one to be forgotten", func() bool { return left() == 0 && len(f.byKind(t)) == 0 })
}

// TestOneIntegrationCanNotBeWrittenToTheDirectory has Postgres refuse what is noted when one integration's credentials
// are handed on: the others get their entries.
func TestOneIntegrationCanNotBeWrittenToTheDirectory(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	providers := map[string]contracts.Provider{"shop": shop{}}
	f.startScheduler(t, providers, func(c *platform.Config) {
		patient(c)
		c.Control.Housekeeping.DirectoryRetry, c.Control.Housekeeping.Sweep = 50*time.Millisecond, 50*time.Millisecond
	})
	f.awaitProviders(t, []map[string]contracts.Provider{providers})
	mend := f.refuse(t, "secret_audit", "new.why = 'tell the webhook ingress' and new.integration_id = (select id "+
		"from integrations where name = 'bad')")
	js, err := jetstream.New(f.nc)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(t.Context(), wire.BucketDirectory)
	if err != nil {
		t.Fatal(err)
	}
	bad := f.mustCreate(t, newShop("bad")).ID
	good := f.mustCreate(t, newShop("good")).ID
	has := func(id string) bool {
		_, err := bucket.Get(t.Context(), id)
		return err == nil
	}
	await(t, "the other's entry", func() bool { return has(good) })
	await(t, "the failure to be listed", func() bool { return f.byKind(t)["write-directory"].IntegrationID == bad })
	if has(bad) {
		t.Error("the bad one has an entry")
	}
	mend()
	f.elapse(t)
	f.exec(t, "update integrations set version = version + 1")
	await(t, "the bad one's entry", func() bool { return has(bad) })
}
