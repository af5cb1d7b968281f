package integrations_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// run has the feed and the loader at work until the test ends, and returns what the feed tells from when it listens on.
func (f *fixture) run(t *testing.T) <-chan uuid.UUID {
	t.Helper()
	told := make(chan uuid.UUID, 1000)
	f.feed.Follow(func(id uuid.UUID) { told <- id })
	ctx, stop := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error { return f.feed.Run(ctx) })
	group.Go(func() error { return f.loader.Run(ctx) })
	t.Cleanup(func() {
		stop()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	hear(t, told, uuid.Nil)
	return told
}

func hear(t *testing.T, told <-chan uuid.UUID, want uuid.UUID) {
	t.Helper()
	for {
		select {
		case id := <-told:
			if id == want {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("the feed does not tell of %s", want)
		}
	}
}

// eventually waits for what the loader does on its own.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestChangesReachWhoHoldsAnIntegration(t *testing.T) {
	f := newFixture(t, "shop")
	f.putKey(t, "k1", 0)
	held := f.load(t, f.version(t))
	f.run(t)
	f.putKey(t, "k2", 1)
	eventually(t, "requests go on with the old key", func() bool { return sentKey(t, held) == "k2" })
	current, err := f.loader.Current(t.Context(), f.id)
	if err != nil {
		t.Fatal(err)
	}
	if credentials, err := current.Credentials(); err != nil || credentials["key"] != "k2" {
		t.Errorf("the current integration has %v, %v", credentials, err)
	}
}

func TestFeedTells(t *testing.T) {
	f := newFixture(t, "shop")
	told := f.run(t)
	made := postgres.NewID()
	_, err := f.store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{ID: made, Provider: "shop", Name: "second", Metadata: []byte("{}"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	hear(t, told, made)
	if _, err := f.store.IntegrationSetStatus(t.Context(), dbsqlc.IntegrationSetStatusParams{ID: made, Status: "paused", Now: now}); err != nil {
		t.Fatal(err)
	}
	hear(t, told, made)
	if _, err := f.store.IntegrationDelete(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	hear(t, told, made)
	// What every run does to its integration is no change that anybody waits for.
	if err := f.store.IntegrationSetNextSync(t.Context(), &now, f.id); err != nil {
		t.Fatal(err)
	}
	f.putKey(t, "k1", 0)
	id := <-told
	for id == uuid.Nil { // all, as every while
		id = <-told
	}
	if id != f.id {
		t.Errorf("told of %s, want %s", id, f.id)
	}
	select {
	case id := <-told:
		if id != uuid.Nil {
			t.Errorf("told of %s beside", id)
		}
	default:
	}
}

// What changes while the connection is lost is found when it is back.
func TestFeedAfterALostConnection(t *testing.T) {
	f := newFixture(t, "shop")
	f.putKey(t, "k1", 0)
	held := f.load(t, f.version(t))
	told := f.run(t)
	_, err := f.pool.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
		where datname = current_database() and query ilike 'listen%'`)
	if err != nil {
		t.Fatal(err)
	}
	f.putKey(t, "k2", 1)
	hear(t, told, uuid.Nil)
	eventually(t, "requests go on with the old key", func() bool { return sentKey(t, held) == "k2" })
}

func TestDeletedIsForgotten(t *testing.T) {
	f := newFixture(t, "shop")
	f.load(t, f.version(t))
	f.run(t)
	if _, err := f.store.IntegrationDelete(t.Context(), f.id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deleted integration is still there", func() bool {
		_, err := f.loader.Current(t.Context(), f.id)
		return postgres.NotFound(err)
	})
}

// What fell out of the cache while somebody holds it is current again once it is used.
func TestForgottenComesBack(t *testing.T) {
	f := newFixture(t, "shop")
	f.loader.KeepAtMost(1)
	f.putKey(t, "k1", 0)
	held := f.load(t, f.version(t))
	f.run(t)
	second := postgres.NewID()
	_, err := f.store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{ID: second, Provider: "shop", Name: "second", Metadata: []byte("{}"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.loader.Current(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	f.putKey(t, "k2", 1)
	eventually(t, "requests go on with the old key", func() bool { return sentKey(t, held) == "k2" })
}
