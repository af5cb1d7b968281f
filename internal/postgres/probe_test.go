package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// ready waits until the store says whether the database takes writes.
func ready(t *testing.T, store *postgres.Store, want bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := store.Ready(t.Context())
		if (err == nil) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("ready gives %v, want ready: %t", err, want)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// A session is as good as what its server, its database and its role allow. Each is taken away and given back.
func TestReadyMeansWritable(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	admin, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.WithoutCancel(t.Context())) })
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	database := pgx.Identifier{config.ConnConfig.Database}.Sanitize()
	role := pgx.Identifier{"probe_" + config.ConnConfig.Database}.Sanitize()
	run := func(format string, args ...any) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), fmt.Sprintf(format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	run("create role %s", role)
	t.Cleanup(func() {
		_, err := admin.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf("drop owned by %s; drop role %s", role, role))
		if err != nil {
			t.Error(err)
		}
	})
	config.ConnConfig.RuntimeParams["role"] = "probe_" + config.ConnConfig.Database
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := postgres.New(pool, nil)
	for _, step := range []struct{ name, take, give string }{
		{"rights", "revoke all on commands_done from " + role, "grant select, insert on commands_done to " + role},
		{"read-only database", "alter database " + database + " set default_transaction_read_only = on", "begin read write; alter database " + database + " reset default_transaction_read_only; commit"},
	} {
		run("%s", step.take)
		pool.Reset()
		ready(t, store, false)
		run("%s", step.give)
		pool.Reset()
		ready(t, store, true)
	}
}

// Many who ask at once, such as strangers at a health check, cause few queries.
func TestReadyIsShared(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t)
	store := postgres.New(pool, nil)
	before := pool.Stat().AcquireCount()
	var group sync.WaitGroup
	start := time.Now()
	for range 500 {
		group.Go(func() {
			if err := store.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	// One, and another for every time that an answer has grown old.
	most := 1 + int64(time.Since(start)/postgres.ReadyFor) + 1
	if got := pool.Stat().AcquireCount() - before; got > most {
		t.Errorf("%d queries for 500 questions, want at most %d", got, most)
	}
}

// What a caller gives up on says nothing of the database.
func TestReadyOfACallerThatLeaves(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Ready(ctx); err == nil {
		t.Error("a question that was not asked has the answer ready")
	}
	if err := store.Ready(t.Context()); err != nil {
		t.Errorf("the next caller is told %v", err)
	}
}
