package itemworker

import (
	"context"
	"errors"
	"time"

	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/handling"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	// receiptsAtATime bounds what one statement takes.
	receiptsAtATime = 256
	// writeTimeout is how long a store may take to answer before what else there is gets its turn.
	writeTimeout = 10 * time.Second
	// firstRest is how long unwritten outcomes rest after they were refused. It doubles up to longestRest.
	firstRest, longestRest = 250 * time.Millisecond, 10 * time.Second
)

// unwritten is what items of a job came to, by what must be stored of it first, and is not stored yet.
type unwritten struct {
	// finished items are done or skipped, and need a receipt.
	finished []result
	dead     []deaditems.Dead
	hops     []*hop
	// entry are the outcomes whose effects are stored: they lack only their place in the bucket. It is nil where there
	// are none.
	entry *eventsv1.Entry
	// why is what a store last said.
	why error
}

// items is how many items wait to be written.
func (u *unwritten) items() int {
	n := len(u.finished) + len(u.dead)
	for _, h := range u.hops {
		n += len(h.items)
	}
	if n == 0 && u.entry != nil {
		n = 1
	}
	return n
}

// stores reports whether a store refuses what is done, and not only what became of single items.
func (u *unwritten) stores() bool { return len(u.finished) > 0 || u.entry != nil }

// commit makes results last: first their effects, then the entry. What a store refuses stays with the job, which tries
// it again with the next results and in [job.settle]; no handler is called again for it. It returns [errRefused] when
// the run wants nothing of the results any more.
func (j *job) commit(ctx context.Context, results []result) error {
	j.worker.Metrics.outcomesOf(j.Batch.GetProvider(), results)
	var again []result
	for _, r := range results {
		switch r.state {
		case eventsv1.OutcomeState_OUTCOME_STATE_RETRYING:
			again = append(again, r)
		case eventsv1.OutcomeState_OUTCOME_STATE_DEAD:
			if r.failed {
				r.item.Tries++
			}
			j.unwritten.dead = append(j.unwritten.dead, deaditems.Dead{
				Item: r.item, Reason: r.reason,
				Error: r.errorText(),
			})
		default:
			j.unwritten.finished = append(j.unwritten.finished, r)
		}
	}
	j.unwritten.hops = append(j.unwritten.hops, j.hopsOf(again)...)
	return j.write(ctx)
}

// write stores what is unwritten. It returns [errRefused] or nil.
func (j *job) write(ctx context.Context) error {
	if j.unwritten.items() == 0 {
		return nil
	}
	j.unwritten.why = nil
	return j.outcomes.write(ctx)
}

// try keeps what a store says for [job.settle] to tell.
func (j *job) try(ctx context.Context, write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := write(ctx); err != nil {
		j.unwritten.why = errors.Join(j.unwritten.why, err)
	}
}

// settle writes what is unwritten, again and again, and calls no handler meanwhile. The message stays in work, so that
// no other worker gets it. It gives up with [handling.ErrStopping] when the service stops, and with [errUnwritten]
// after [Settings.Hold].
func (j *job) settle(ctx context.Context) error {
	items := j.unwritten.items()
	if items == 0 {
		return nil
	}
	log := j.worker.Log.With("run", j.Batch.GetRunId(), "batch", j.Batch.GetBatch(), "items", items)
	log.Warn("outcomes can't be written; they are kept and tried again, and no handler is called again",
		"error", j.unwritten.why)
	waiting := j.worker.Metrics.unwritten.WithLabelValues(j.Batch.GetProvider())
	waiting.Add(float64(items))
	defer waiting.Sub(float64(items))
	held := time.NewTimer(j.worker.Settings.Hold)
	defer held.Stop()
	for rest := firstRest; ; rest = min(2*rest, longestRest) {
		var given error
		select {
		case <-j.delivery.Stopping:
			given = handling.ErrStopping
		case <-ctx.Done():
			return handling.ErrStopping
		case <-held.C:
			given = errUnwritten
		case <-time.After(rest):
		}
		if err := j.write(ctx); err != nil {
			return err
		}
		if j.unwritten.items() == 0 {
			log.Info("outcomes are written after all")
			return nil
		}
		if given != nil {
			log.Error("outcomes are not written; their batch is handed back, and handlers will be called again", "why",
				given, "error", j.unwritten.why)
			return given
		}
	}
}
