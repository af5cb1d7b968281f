package runs

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// reduction is what the provider's code made of the checkpoints of an attempt.
type reduction struct {
	// candidate is the reducer's cursor. It is nil if the reducer was not called, or returned nothing.
	candidate contracts.Cursor
	// forward says that the integration's cursor is still the one that the run started from, and that the candidate is
	// ahead of it.
	forward bool
	// err is why the provider could not reduce the checkpoints, or not compare the cursors.
	err error
}

// verdict is how a run closes.
type verdict struct {
	state runstate.State
	err   foreign.Text
	// complete says that the attempt had every item that the upstream has to give.
	complete bool
	// reduceFailed says that the checkpoints are kept until the reducer is mended.
	reduceFailed bool
	// resolved says that the run waits for nothing any more.
	resolved bool
	// cursor is where the integration's cursor moves to. It is nil if the cursor stays.
	cursor contracts.Cursor
}

// decide says how a run closes: from the locked run, what its newest attempt came to, and what the reducer made of
// that.
func decide(run *postgres.Run, e *ending, r reduction) verdict {
	v := verdict{
		state: runstate.Succeeded, err: foreign.Line(e.total.GetError()),
		complete: e.total.GetError() == "" && run.Lost == "", reduceFailed: r.err != nil, resolved: e.dead == 0 &&
			r.err == nil,
	}
	switch {
	case run.Lost != "":
		v.state, v.err = runstate.Failed, run.Lost
	case v.err != "":
		v.state = runstate.Failed
	case e.dead > 0 && e.done+e.skipped == 0:
		v.state, v.err = runstate.Failed, "every item is dead"
	case e.dead > 0:
		v.state = runstate.Partial
	case r.err != nil:
		v.state, v.err = runstate.Failed, foreign.Of(r.err)
	case r.forward:
		v.cursor = r.candidate
	}
	v.err = cmp.Or(v.err, foreign.Line(e.total.GetNote()))
	return v
}

// reducible reports whether the checkpoints of an attempt can move the cursor.
func (e *ending) reducible() bool {
	return e.total.GetError() == "" && e.dead == 0 && len(e.values) > 0
}

// ended puts the rows of the dead items together with what the bucket says of the items: once an item is dead, Postgres
// knows its fate. It returns errForgotten if the bucket calls an item dead that has no row.
func ended(progress *checkpoint.Progress, states *tally, collected *collector, rows []*dbsqlc.DeadOfAttemptRow) (
	*ending, error,
) {
	e := &ending{total: progress.Total(), skips: progress.Skips()}
	rowless := states.count(eventsv1.OutcomeState_OUTCOME_STATE_DEAD)
	for _, row := range rows {
		at := position{row.Batch, row.ItemIndex}
		if states.at(at) != eventsv1.OutcomeState_OUTCOME_STATE_DEAD {
			if unresolved(row) {
				e.lateDone = append(e.lateDone, at)
			}
			continue
		}
		rowless--
		switch row.Status {
		case "resolved":
			states.raise(at, eventsv1.OutcomeState_OUTCOME_STATE_DONE)
			collected.add(at, textOf(row.Checkpoint))
		case "skipped":
			states.raise(at, eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED)
			e.skips.Add(row.Note.String())
			collected.add(at, textOf(row.Checkpoint))
		}
	}
	if rowless > 0 {
		return nil, fmt.Errorf("%w: %d dead items have no row", errForgotten, rowless)
	}
	e.done = states.count(eventsv1.OutcomeState_OUTCOME_STATE_DONE)
	e.skipped = states.count(eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED)
	e.dead = states.count(eventsv1.OutcomeState_OUTCOME_STATE_DEAD)
	return e, nil
}

// errDeadChanged means that an item was retried or skipped after the rows of the dead items were read. The run is
// looked at again.
var errDeadChanged = errors.New("the dead items have changed")

// stands compares the ending with what the closing transaction reads: the rows of the dead items must be those that it
// was made of, and every item that is done or skipped must have a receipt.
func (e *ending) stands(rows []*dbsqlc.DeadOfAttemptRow, receipts []postgres.Receipt) error {
	dead := int64(0)
	for _, row := range rows {
		if unresolved(row) {
			dead++
		}
	}
	if dead != e.dead+int64(len(e.lateDone)) {
		return errDeadChanged
	}
	if lacking := e.received.without(receipts); lacking > 0 {
		return fmt.Errorf("%w: %d of %d items have no receipt", errForgotten, lacking, e.total.GetItems())
	}
	return nil
}

func unresolved(row *dbsqlc.DeadOfAttemptRow) bool {
	return row.Status == "open" || row.Status == "redriving"
}

// pace is how long after a run's end the next one is due. A run that fails has the integration wait longer with each
// failure in a row; one of bad health is asked seldom. Of the two waits the longer counts: multiplied, a failing
// upstream would be asked once in a week. A commanded sync that fails leaves the schedule as it is: people who try
// again do not slow it.
func pace(run *postgres.Run, failures, most, slowed int, interval time.Duration) (wait time.Duration, moves bool) {
	if run.State != runstate.Succeeded && run.Cause != runstate.Scheduled {
		return 0, false
	}
	return times(interval, max(backoff(failures, most), slowed)), true
}

// backoff is how many intervals an integration waits after its n-th failure in a row: min(2^(n-1), most).
func backoff(failures, most int) int {
	if failures <= 1 {
		return 1
	}
	if failures-1 >= 16 {
		return most
	}
	return min(1<<(failures-1), most)
}

// times is n intervals, or the longest duration where that many are longer.
func times(interval time.Duration, n int) time.Duration {
	if n > 0 && interval > math.MaxInt64/time.Duration(n) {
		return math.MaxInt64
	}
	return interval * time.Duration(n)
}
