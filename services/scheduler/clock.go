package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// clockBack is from which difference on a mark of a later time says that the common clock was ahead. It is more than
// schedulers can differ by.
const clockBack = time.Minute

// wasAhead reports whether the clock that moved the mark was ahead. It takes its time: a process that has just started may
// go by the clock of its machine until NATS has told it the time.
func (m *mark) wasAhead(ahead time.Duration) bool {
	if ahead <= clockBack {
		m.behind = time.Time{}
		return false
	}
	if m.behind.IsZero() {
		m.behind = time.Now()
	}
	return time.Since(m.behind) >= m.Settings.ClockHold
}

// clockWentBack moves the mark to the present when it was moved at a later time, and brings forward what was put off by
// that clock: else it would stand still for as long as the clock was ahead by. False says that the mark is elsewhere.
func (m *mark) clockWentBack(ctx context.Context, seen mirror, revision uint64, ahead time.Duration) (moved bool, err error) {
	now := m.Now()
	var row *dbsqlc.MarkMoveRow
	var changed int32
	err = m.Store.InTx(ctx, func(tx *postgres.Tx) error {
		var err error
		row, err = tx.MarkMove(ctx, dbsqlc.MarkMoveParams{N: seen.N, Mirrored: seen.Nonce, Nonce: uuid.New(), Now: now})
		if err != nil {
			return err
		}
		changed, err = tx.TimesBringForward(ctx, dbsqlc.TimesBringForwardParams{Now: now, Ahead: ahead, Edge: now.Add(ahead / 2)})
		if err != nil {
			return fmt.Errorf("bring forward what is due: %w", err)
		}
		reason := foreign.Line(fmt.Sprintf("the clock that NATS gives was ahead by %s, and went back; what was put off by it is brought forward; docs/recovery.md says what to look at",
			ahead.Round(time.Second)))
		return health.Open(ctx, tx, postgres.NewID(), health.Signal{Source: health.SourceNATS, Severity: health.Degraded, Reason: reason}, now)
	})
	if postgres.NotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("after the clock went back: %w", err)
	}
	m.Log.Error("the clock that NATS gives was ahead, and went back: set the clocks of its servers right; what was put off by it is brought forward", "by", ahead, "rows", changed)
	loop.Kick(m.due)
	_, err = m.follow(ctx, mirror{N: row.N, Nonce: row.Nonce, At: row.At}, revision)
	return true, err
}
