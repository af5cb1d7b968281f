package setaside_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
)

// batches gives integrations of the database, several at a time, the time of their next sync.
type batches struct {
	*world
	ids []uuid.UUID
	// bad is what the step comes to when it has this integration.
	bad map[uuid.UUID]func() error
	// taken are the sizes of the transactions.
	taken []int
}

func newBatches(t *testing.T, n int) *batches {
	t.Helper()
	b := &batches{world: newWorld(t), bad: map[uuid.UUID]func() error{}}
	for i := range n {
		id := postgres.NewID()
		b.ids = append(b.ids, id)
		_, err := b.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
			ID: id, Provider: "shop", Name: fmt.Sprint("shop", i), Metadata: json.RawMessage("{}"), Now: b.now,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *batches) run(t *testing.T) (int, error) {
	t.Helper()
	b.taken = nil
	return setaside.RunBatch(t.Context(), b.Set, setaside.Batch[uuid.UUID]{
		Kind: kind, Most: 4, Name: func(id uuid.UUID) setaside.Element { return setaside.Of(id, id) },
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) (rows []uuid.UUID, err error) {
			for _, id := range b.ids {
				in, err := tx.IntegrationLock(ctx, id)
				if err != nil {
					return nil, err
				}
				if len(rows) < int(most) && in.NextSyncAt == nil && !slices.Contains(without, id) {
					rows = append(rows, id)
				}
			}
			b.taken = append(b.taken, len(rows))
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []uuid.UUID) error {
			if err := tx.IntegrationSetNextSyncMany(ctx, rows, slices.Repeat([]time.Time{b.now}, len(rows))); err != nil {
				return err
			}
			for _, id := range rows {
				if bad := b.bad[id]; bad != nil {
					return bad()
				}
			}
			return nil
		},
	})
}

// mustRun does one batch, and compares the sizes of its transactions.
func (b *batches) mustRun(t *testing.T, want int, taken ...int) {
	t.Helper()
	n, err := b.run(t)
	if err != nil || n != want {
		t.Errorf("the batch claimed %d, %v; want %d", n, err, want)
	}
	if diff := cmp.Diff(taken, b.taken); diff != "" {
		t.Errorf("sizes of the transactions (-want +got):\n%s", diff)
	}
}

// undone are the numbers of the integrations that are still to be done.
func (b *batches) undone(t *testing.T) (numbers []int) {
	t.Helper()
	for n, id := range b.ids {
		row, err := b.Store.IntegrationGet(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if row.NextSyncAt == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func (b *batches) wantUndone(t *testing.T, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, b.undone(t)); diff != "" {
		t.Errorf("undone (-want +got):\n%s", diff)
	}
}

// TestOneBadElementOfABatch has two of six fail, one by a panic: the others are done by the same call and the next, and the bad ones once they can be.
func TestOneBadElementOfABatch(t *testing.T) {
	t.Parallel()
	b := newBatches(t, 6)
	b.bad[b.ids[1]] = fails
	b.bad[b.ids[3]] = func() error { panic("out of its mind") }
	b.mustRun(t, 4, 4, 1, 1, 1, 1)
	b.wantUndone(t, 1, 3, 4, 5)
	b.mustRun(t, 2, 2)
	b.wantUndone(t, 1, 3)
	b.mustRun(t, 0, 0)
	for range 3 {
		b.now = b.now.Add(time.Hour)
		b.mustRun(t, 2, 2, 1, 1, 0)
	}
	if told := b.events(t, events.WorkSetAside); len(told) != 2 {
		t.Errorf("%d events say that work is set aside, want 2", len(told))
	}
	b.now = b.now.Add(time.Hour)
	b.bad = nil
	b.mustRun(t, 2, 2)
	b.wantUndone(t)
	if told := b.events(t, events.WorkSettled); len(told) != 2 || len(b.listed(t)) != 0 {
		t.Errorf("%d events say that work is done; listed %v", len(told), b.listed(t))
	}
}

// TestBatchWhileAStoreIsAway blames nobody.
func TestBatchWhileAStoreIsAway(t *testing.T) {
	t.Parallel()
	b := newBatches(t, 3)
	b.away = errors.New("NATS is away")
	b.bad[b.ids[0]] = fails
	if _, err := b.run(t); !errors.Is(err, b.away) {
		t.Errorf("the batch ends with %v, want that NATS is away", err)
	}
	b.wantUndone(t, 0, 1, 2)
	if known, err := b.Load(t.Context(), kind); err != nil || len(known) != 0 {
		t.Errorf("blamed %v, %v", known, err)
	}
}

// TestStepThatRunsOutOfItsTime is the element's fault, though the error is that of a query that was cut off: the others are done.
func TestStepThatRunsOutOfItsTime(t *testing.T) {
	t.Parallel()
	b := newBatches(t, 3)
	b.Settings.Step = 10 * time.Second
	sleep := func(ctx context.Context, tx *postgres.Tx) error {
		_, err := tx.IntegrationLock(ctx, b.ids[0])
		<-ctx.Done()
		return errors.Join(err, fmt.Errorf("a query: %w", ctx.Err()))
	}
	_, err := setaside.RunBatch(t.Context(), b.Set, setaside.Batch[uuid.UUID]{
		Kind: kind, Most: 4, Name: func(id uuid.UUID) setaside.Element { return setaside.Of(id, id) },
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) (rows []uuid.UUID, err error) {
			for _, id := range b.ids {
				row, err := tx.IntegrationLock(ctx, id)
				if err != nil {
					return nil, err
				}
				if len(rows) < int(most) && row.NextSyncAt == nil && !slices.Contains(without, id) {
					rows = append(rows, id)
				}
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []uuid.UUID) error {
			if slices.Contains(rows, b.ids[0]) {
				return sleep(ctx, tx)
			}
			return tx.IntegrationSetNextSyncMany(ctx, rows, slices.Repeat([]time.Time{b.now}, len(rows)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.wantUndone(t, 0)
	known, err := b.Load(t.Context(), kind)
	if err != nil || known[b.ids[0].String()] == nil || !strings.Contains(known[b.ids[0].String()].Error.String(), "not done within 10s") {
		t.Errorf("noted %+v, %v", known[b.ids[0].String()], err)
	}
	err = setaside.Run(t.Context(), b.Set, setaside.Sweep[string]{
		Kind: kind, Most: 4, Name: func(key string) setaside.Element { return setaside.Element{Key: key} },
		List: func(context.Context, int32) ([]string, error) { return []string{"slow", "quick"}, nil },
		Step: func(ctx context.Context, key string) error {
			b.tried = append(b.tried, key)
			if key == "quick" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"slow", "quick"}, b.tried); diff != "" {
		t.Errorf("tried (-want +got):\n%s", diff)
	}
	if known, err := b.Load(t.Context(), kind); err != nil || known["slow"] == nil || known["quick"] != nil {
		t.Errorf("noted %v, %v", known, err)
	}
}
