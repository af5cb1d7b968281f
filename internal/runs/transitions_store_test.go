package runs_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/runstate"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestQueriesKeepToTheTable runs the query of each transition on a run in each state. It must change those that the
// transition leads from, and no others; and none by an older attempt.
func TestQueriesKeepToTheTable(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t)
	store := postgres.New(pool, nil)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ctx := t.Context()
	queries := map[string]func(run *postgres.Run, attempt int32) error{
		"RunStartAttempt": func(run *postgres.Run, attempt int32) error {
			_, err := store.RunStartAttempt(ctx, dbsqlc.RunStartAttemptParams{ID: run.ID, Attempt: attempt, Now: now})
			return err
		},
		"RunWait": func(run *postgres.Run, attempt int32) error {
			_, err := store.RunWait(ctx, dbsqlc.RunWaitParams{ID: run.ID, Attempt: attempt, Now: now})
			return err
		},
		"RunWorking": func(run *postgres.Run, attempt int32) error {
			_, err := store.RunWorking(ctx, dbsqlc.RunWorkingParams{ID: run.ID, Attempt: attempt, Now: now})
			return err
		},
		"RunWake": func(run *postgres.Run, attempt int32) error {
			_, err := store.RunWake(ctx, dbsqlc.RunWakeParams{ID: run.ID, Attempt: attempt, Wake: run.Wake, Now: now})
			return err
		},
		"RunClose": func(run *postgres.Run, attempt int32) error {
			_, err := store.RunClose(ctx, dbsqlc.RunCloseParams{
				ID: run.ID, Attempt: attempt, State: runstate.Failed,
				Now: &now,
			})
			return err
		},
		"RunLost": func(run *postgres.Run, attempt int32) error {
			_, err := store.RunLost(ctx, dbsqlc.RunLostParams{ID: run.ID, Attempt: attempt, Lost: "an item"})
			return err
		},
	}
	for _, transition := range runs.Transitions() {
		if len(transition.From) == 0 {
			continue
		}
		query, known := queries[transition.Query]
		if !known {
			t.Fatalf("the test can't call %s", transition.Query)
		}
		for _, state := range runstate.All() {
			for _, attempt := range []int32{6, 7} {
				before := insertRun(ctx, t, pool, state, now)
				if err := query(before, attempt); err != nil && !postgres.NotFound(err) {
					t.Fatalf("%s of a run that is %s: %v", transition.Query, state, err)
				}
				after, err := store.RunGet(ctx, before.ID)
				if err != nil {
					t.Fatal(err)
				}
				from := attempt == before.Attempt && slices.Contains(transition.From, state)
				// A run that begins again keeps its state, and so does one that is woken while it is due.
				changed := after.State != before.State || after.Attempt != before.Attempt || after.Wake != before.Wake
				if changed != from {
					t.Errorf("%s for attempt %d of a run that is %s changed it: %t, want %t", transition.Query, attempt,
						state, changed, from)
				}
			}
		}
	}
}

// insertRun makes a run of an integration of its own, in its seventh attempt.
func insertRun(ctx context.Context, t *testing.T, pool *pgxpool.Pool, state runstate.State,
	now time.Time,
) *postgres.Run {
	t.Helper()
	store := postgres.New(pool, nil)
	integration, id := postgres.NewID(), postgres.NewID()
	_, err := store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{
		ID: integration, Provider: "shop", Name: integration.String(), Owner: "team", Metadata: json.RawMessage("{}"),
		Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.RunInsertMany(ctx, dbsqlc.RunInsertManyParams{
		Mode: "full", Cause: "command", Now: now, Ids: []uuid.UUID{id}, IntegrationIds: []uuid.UUID{integration},
		Traces: []string{""},
	})
	if err != nil {
		t.Fatal(err)
	}
	closed := !slices.Contains([]runstate.State{runstate.Due, runstate.Enumerating, runstate.Waiting, runstate.Working},
		state)
	_, err = pool.Exec(ctx, `update sync_runs set state = $2, attempt = 7, closed_at = case when $3 then created_at end where id = $1`, id, state, closed)
	if err != nil {
		t.Fatal(err)
	}
	run, err := store.RunGet(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}
