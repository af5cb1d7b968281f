package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// position is an item's place in its attempt's enumeration.
type position struct{ batch, index int32 }

// folded stands for all positions, where a reducer may be applied to parts.
func folded() position { return position{-1, -1} }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.batch, q.batch), cmp.Compare(p.index, q.index))
}

type value struct {
	at         position
	checkpoint contracts.Checkpoint
}

// ending is what a complete attempt came to.
type ending struct {
	total               *eventsv1.Total
	done, dead, skipped int64
	// skips are the reasons of the skipped items.
	skips checkpoint.Reasons
	// values are the checkpoints of done and skipped items: in enumeration order, or folded into one.
	values []value
	// lateDone are items with a dead row that a later delivery of their batch has done after all.
	lateDone []position
	// received are the items of which Postgres must have receipts.
	received *tally
}

var (
	errIncomplete = errors.New("the attempt is not complete")
	// errForgotten means that Postgres lacks what NATS calls finished: it went back to an earlier state.
	errForgotten = errors.New("the database has forgotten what was finished")
)

// gather reads an attempt's entries as they stand, and its dead rows, and puts them together. It returns errIncomplete
// if anything is missing, checkpoint.ErrReducer if folding fails, and errForgotten if the bucket calls an item dead
// that has no row.
func (s *Store) gather(ctx context.Context, run *postgres.Run, reducer contracts.ScheduledSync, fold bool) (*ending,
	error,
) {
	var progress checkpoint.Progress
	states, received := newTally(), newTally()
	collected := collector{reducer: reducer, associative: fold}
	err := s.Checkpoints.ReadAll(ctx, run.ID.String(), run.Attempt, func(u checkpoint.Update) {
		progress.Apply(u)
		states.apply(u)
		if u.Entry.GetReceipts() {
			received.apply(u)
		}
		for _, outcome := range u.Entry.GetOutcomes() {
			if outcome.GetState() == eventsv1.OutcomeState_OUTCOME_STATE_DONE ||
				outcome.GetState() == eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED {
				collected.add(position{u.Key.Batch, outcome.GetIndex()}, outcome.GetCheckpoint())
			}
		}
		collected.addFolded(u.Key.Batch, u.Entry.GetFolded())
	})
	if err != nil {
		return nil, err
	}
	if !progress.Complete() {
		return nil, errIncomplete
	}
	rows, err := s.Postgres.DeadOfAttempt(ctx, run.ID, run.Attempt)
	if err != nil {
		return nil, fmt.Errorf("read dead items of run %s: %w", run.ID, err)
	}
	e, err := ended(&progress, states, &collected, rows)
	if err != nil {
		return nil, err
	}
	e.received = received
	e.values = collected.finish()
	return e, collected.err
}

// collector gathers checkpoints: all of them, or folded as they come.
type collector struct {
	reducer     contracts.ScheduledSync
	associative bool
	seen        map[position]struct{}
	values      []value
	// parts are what workers have folded, by batch. They come before the values of their batch.
	parts   map[int32][][]byte
	pending []contracts.Checkpoint
	err     error
}

const foldAtATime = 1024

// addFolded takes what a worker has folded. Each entry of a batch has all parts that the entry before it had.
func (c *collector) addFolded(batch int32, folded [][]byte) {
	if c.associative {
		for _, part := range folded {
			c.add(position{batch, -1}, part)
		}
		return
	}
	if c.parts == nil {
		c.parts = map[int32][][]byte{}
	}
	if len(folded) > len(c.parts[batch]) {
		c.parts[batch] = folded
	}
}

func (c *collector) add(at position, checkpoint []byte) {
	if !c.associative {
		if c.seen == nil {
			c.seen = map[position]struct{}{}
		}
		if _, twice := c.seen[at]; !twice {
			c.seen[at] = struct{}{}
			c.values = append(c.values, value{at: at, checkpoint: orNil(checkpoint)})
		}
		return
	}
	if len(checkpoint) == 0 {
		return
	}
	if c.pending = append(c.pending, contracts.Checkpoint(checkpoint)); len(c.pending) >= foldAtATime {
		c.fold()
	}
}

func (c *collector) fold() {
	if len(c.pending) == 0 || c.err != nil {
		return
	}
	cursor, err := checkpoint.Reduce(c.reducer, c.pending)
	if err != nil {
		c.err = err
		return
	}
	c.pending = append(c.pending[:0], contracts.Checkpoint(cursor))
}

func (c *collector) finish() []value {
	if c.associative {
		c.fold()
		if len(c.pending) == 0 {
			return nil
		}
		return []value{{at: folded(), checkpoint: c.pending[0]}}
	}
	for batch, parts := range c.parts {
		for i, part := range parts {
			c.values = append(c.values, value{at: position{batch, int32(i - len(parts))}, checkpoint: part})
		}
	}
	slices.SortFunc(c.values, func(a, b value) int { return a.at.compare(b.at) })
	return c.values
}

func checkpointsOf(values []value) []contracts.Checkpoint {
	checkpoints := make([]contracts.Checkpoint, 0, len(values))
	for _, v := range values {
		checkpoints = append(checkpoints, v.checkpoint)
	}
	return checkpoints
}

func rowsOf(run *postgres.Run, values []value) []dbsqlc.RunCheckpointInsertManyParams {
	rows := make([]dbsqlc.RunCheckpointInsertManyParams, 0, len(values))
	for _, v := range values {
		row := dbsqlc.RunCheckpointInsertManyParams{RunID: run.ID, Batch: v.at.batch, ItemIndex: v.at.index}
		if len(v.checkpoint) > 0 {
			text := string(v.checkpoint)
			row.Checkpoint = &text
		}
		rows = append(rows, row)
	}
	return rows
}

func textOf(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}

func orNil(b []byte) contracts.Checkpoint {
	if len(b) == 0 {
		return nil
	}
	return contracts.Checkpoint(b)
}
