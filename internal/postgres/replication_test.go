package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// A commit whose wait for the standby is cancelled is one of which nobody knows. What it wrote is there, and another
// transaction that has seen that waits too, if it asks for it.
func TestCommitThatNoStandbyHas(t *testing.T) {
	t.Parallel()
	server := pgtest.Alone(t)
	config := server.Config()
	config.MaxConns = 1 // so that the connection that was told of it is used again
	pool, err := postgres.Connect(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := postgres.New(pool, nil)
	note := func(ctx context.Context, barrier bool) (first int64, err error) {
		err = store.InTx(ctx, func(tx *postgres.Tx) error {
			if first, err = tx.CommandDone(ctx, "one", time.Now()); err != nil || first > 0 || !barrier {
				return err
			}
			return tx.Barrier(ctx)
		})
		return first, err
	}
	server.AwaitStandby(true)
	for _, tt := range []struct {
		name    string
		first   int64
		barrier bool
	}{{name: "written", first: 1}, {name: "seen", barrier: true}} {
		done := server.CancelWait()
		first, err := note(t.Context(), tt.barrier)
		if first != tt.first || !errors.Is(err, postgres.ErrUnreplicated) || !postgres.Unavailable(err) {
			t.Errorf("%s, without a standby: %d, %v", tt.name, first, err)
		}
		done()
	}
	if first, err := note(t.Context(), false); first != 0 || err != nil {
		t.Errorf("who wants no barrier waits for no standby: %d, %v", first, err)
	}
	server.AwaitStandby(false)
	if first, err := note(t.Context(), true); first != 0 || err != nil {
		t.Errorf("with all that is needed: %d, %v", first, err)
	}
}
