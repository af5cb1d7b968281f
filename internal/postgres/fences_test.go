package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// A database that goes back to an earlier state forgets the numbers it has issued since, and what bears them lives on in NATS. A transaction that is
// rolled back stands for that: the number that is issued a second later must be another, and larger.
func TestFencesAreNeverIssuedTwice(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, issue := range map[string]func(ctx context.Context, tx *postgres.Tx, f *fenced, now time.Time) (int64, error){
		"attempt": func(ctx context.Context, tx *postgres.Tx, f *fenced, now time.Time) (int64, error) {
			run, err := tx.RunGet(ctx, f.run)
			if err != nil {
				return 0, err
			}
			started, err := tx.RunStartAttempt(ctx, dbsqlc.RunStartAttemptParams{ID: f.run, Attempt: run.Attempt, Now: now})
			if err != nil {
				return 0, err
			}
			if started.Attempts != run.Attempts+1 {
				return 0, errors.New("an attempt is not counted as one")
			}
			return int64(started.Attempt), nil
		},
		"wake": func(ctx context.Context, tx *postgres.Tx, f *fenced, now time.Time) (int64, error) {
			run, err := tx.RunGet(ctx, f.run)
			if err != nil {
				return 0, err
			}
			woken, err := tx.RunWake(ctx, dbsqlc.RunWakeParams{ID: f.run, Attempt: run.Attempt, Wake: run.Wake, Now: now})
			if err != nil {
				return 0, err
			}
			return int64(woken.Wake), nil
		},
		"integration's version": func(ctx context.Context, tx *postgres.Tx, f *fenced, now time.Time) (int64, error) {
			return tx.IntegrationTouch(ctx, now, f.integration)
		},
		"cursor's version": func(ctx context.Context, tx *postgres.Tx, f *fenced, now time.Time) (int64, error) {
			in, err := tx.IntegrationGet(ctx, f.integration)
			if err != nil {
				return 0, err
			}
			to := "1"
			return tx.IntegrationMoveCursor(ctx, dbsqlc.IntegrationMoveCursorParams{ID: f.integration, SyncCursor: &to, CursorVersion: in.CursorVersion, Now: now})
		},
		"webhook's claim": func(ctx context.Context, tx *postgres.Tx, _ *fenced, now time.Time) (int64, error) {
			rows, err := tx.WebhookClaim(ctx, dbsqlc.WebhookClaimParams{
				Now: now, LeaseUntil: start, SuspectAfter: 1000, Providers: []string{"shop"}, Most: 1,
			})
			if err != nil || len(rows) != 1 {
				return 0, errors.Join(err, errors.New("nothing to claim"))
			}
			return int64(rows[0].Attempt), nil
		},
		"redrive of a dead item": func(ctx context.Context, tx *postgres.Tx, f *fenced, now time.Time) (int64, error) {
			rows, err := tx.DeadClaimRedrive(ctx, dbsqlc.DeadClaimRedriveParams{IntegrationID: f.integration, Most: 1, Now: now})
			if err != nil || len(rows) != 1 {
				return 0, errors.Join(err, errors.New("nothing to claim"))
			}
			_, err = tx.DeadReopen(ctx, dbsqlc.DeadReopenParams{ID: rows[0].ID, Now: now})
			return int64(rows[0].Hop), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFenced(t, start)
			at := start
			number := func(fate error) int64 {
				t.Helper()
				at = at.Add(time.Second)
				var n int64
				err := f.store.InTx(t.Context(), func(tx *postgres.Tx) (err error) {
					if n, err = issue(t.Context(), tx, f, at); err != nil {
						return err
					}
					return fate
				})
				if !errors.Is(err, fate) {
					t.Fatal(err)
				}
				return n
			}
			kept := number(nil)
			forgotten := number(errGoneBack)
			again := number(nil)
			at = start
			behind := number(nil)
			if forgotten <= kept || again <= forgotten || behind <= again {
				t.Errorf("issued %d, then %d, which is forgotten, then %d, and %d by a clock that is behind", kept, forgotten, again, behind)
			}
		})
	}
}

var errGoneBack = errors.New("the database goes back")

// fenced is an integration with an open run, a webhook and a dead item.
type fenced struct {
	store            *postgres.Store
	integration, run uuid.UUID
}

func newFenced(t *testing.T, now time.Time) *fenced {
	t.Helper()
	f := &fenced{store: postgres.New(pgtest.DB(t), nil), integration: postgres.NewID(), run: postgres.NewID()}
	err := f.store.InTx(t.Context(), func(tx *postgres.Tx) error {
		_, err := tx.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{ID: f.integration, Provider: "shop", Name: "main", Metadata: json.RawMessage("{}"), Now: now})
		if err != nil {
			return err
		}
		_, err = tx.RunInsertMany(t.Context(), dbsqlc.RunInsertManyParams{
			Mode: "full", Cause: "command", Now: now, Ids: []uuid.UUID{f.run}, IntegrationIds: []uuid.UUID{f.integration}, Traces: []string{""},
		})
		if err != nil {
			return err
		}
		_, err = tx.WebhookInsertMany(t.Context(), dbsqlc.WebhookInsertManyParams{
			Now: now, Ids: []uuid.UUID{postgres.NewID()}, IntegrationIds: []uuid.UUID{f.integration}, DeliveryIds: []string{"d"}, Copies: []int64{0},
			EventTypes: []foreign.Text{""}, OrderingKeys: []foreign.Text{""}, Sequences: []int64{1}, Methods: []string{"POST"}, Paths: []string{"/"}, Queries: []string{""},
			Headers: []string{"{}"}, Bodies: [][]byte{{}}, KeyIds: []string{""}, Sealed: [][]byte{{}}, ReceivedAts: []time.Time{now},
		})
		if err != nil {
			return err
		}
		_, err = tx.DeadInsertMany(t.Context(), dbsqlc.DeadInsertManyParams{
			IntegrationID: f.integration, Provider: "shop", RunID: f.run, Attempt: 1, Now: now, Ids: []uuid.UUID{postgres.NewID()}, Batches: []int32{0},
			ItemIndexes: []int32{0}, EventTypes: []string{"e"}, ExternalIds: []string{"1"}, Payloads: [][]byte{{}}, Checkpoints: []string{""}, Reasons: []foreign.Text{"r"},
			Errors: []foreign.Text{""}, Tries: []int32{1}, Hops: []int32{0},
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}
