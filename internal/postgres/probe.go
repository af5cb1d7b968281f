package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// readyFor is for how long the database is taken to be writable after it has said so, and awayFor for how long it is taken not to be.
	readyFor, awayFor = 100 * time.Millisecond, 250 * time.Millisecond
	// probeWithin is how long the database may take to answer.
	probeWithin = 2 * time.Second
)

// probeQuery inserts no row, and Postgres refuses it wherever it would refuse one: in a read-only transaction, on a standby, to a role without the right.
// The transaction id shows that the server deals them out. Nothing is written, so that the query leaves no dead row and waits for no disk.
const probeQuery = `with nothing as (insert into commands_done (id, done_at) select '', now() where false) select pg_current_xact_id()::text`

// probe remembers the last answer, so that any number of callers cause a few queries a second.
type probe struct {
	turn chan struct{}
	last atomic.Pointer[answer]
}

type answer struct {
	at  time.Time
	err error
}

func (a *answer) isFresh() bool {
	if a == nil {
		return false
	}
	if a.err != nil {
		return time.Since(a.at) < awayFor
	}
	return time.Since(a.at) < readyFor
}

// Ready returns an error while the database would not take a write: it can't be reached, is read-only or a standby, or the role lacks the right. Consumers ask before
// every pull. One caller at a time asks the database, and the others share the answer.
func (s *Store) Ready(ctx context.Context) error {
	if last := s.probe.last.Load(); last.isFresh() {
		return last.err
	}
	select {
	case s.probe.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.probe.turn }()
	if last := s.probe.last.Load(); last.isFresh() {
		return last.err
	}
	asking, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	var xid string
	err := s.pool.QueryRow(asking, probeQuery).Scan(&xid)
	if err != nil {
		err = fmt.Errorf("write to Postgres: %w", err)
	}
	if ctx.Err() == nil {
		s.probe.last.Store(&answer{at: time.Now(), err: err})
	}
	return err
}
