// Package readiness knows whether a process could do its work now. It runs the process's checks in the background, about once a second, logs and counts what
// changes, and answers from memory: a request for the health of a process never costs a query. Package platform builds a board, /readyz and doctor read it.
package readiness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/panics"
)

const (
	// every is the interval between rounds of checks, and within how long one check may take.
	every, within = time.Second, 3 * time.Second
	// grace is how long a check that runs out of its time has to return before it is left behind.
	grace = time.Second
	// staleAfter is the age from which a result counts as a failure: the process does not get round to its checks.
	staleAfter = 30 * time.Second
	// settling is for how long a check that was never well may fail before it is logged: a process that starts waits for others.
	settling = 5 * time.Second
	// again is how long after a warning another reason is logged.
	again = 10 * time.Second
)

var (
	errUnknown = errors.New("it was not checked yet")
	errStale   = errors.New("the process has not got round to its checks for too long")
	errHangs   = errors.New("the check has not returned for too long")
)

// Check is one thing that has to be well. Its name is public. What its error says is for the log and for operators: it may name hosts and users.
type Check struct {
	Name  string
	Ready func(context.Context) error
}

// Result is what a check came to.
type Result struct {
	Name string
	// Err is nil when all is well.
	Err error
	// Since is since when it has been so.
	Since time.Time
}

// Board has the newest result of every check.
type Board struct {
	log   *slog.Logger
	ready *prometheus.GaugeVec

	mu   sync.Mutex
	kept []kept
}

// kept is a check and its newest result, which was got at a time; zero for one that was not run yet.
type kept struct {
	check     Check
	err       error
	since, at time.Time
	// well is whether the check was ever well, warned whether the log says last that it is not.
	well, warned bool
	// told is the reason that was logged last, at a time.
	told   string
	toldAt time.Time
	// busy is whether a call of the check goes on, also one that was left behind.
	busy *atomic.Bool
}

// New returns a board without checks, on which nothing is well, and registers its metric.
func New(log *slog.Logger, registerer prometheus.Registerer) (*Board, error) {
	b := &Board{log: log}
	b.ready = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tributary", Name: "ready", Help: "1 while the check of readiness is well, 0 while it is not.",
	}, []string{"check"})
	if err := registerer.Register(b.ready); err != nil {
		return nil, fmt.Errorf("register the metric of readiness: %w", err)
	}
	return b, nil
}

// Add adds checks, which are not well until [Board.Run] has run them.
func (b *Board) Add(checks ...Check) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, check := range checks {
		b.kept = append(b.kept, kept{check: check, err: errUnknown, busy: &atomic.Bool{}})
		b.ready.WithLabelValues(check.Name).Set(0)
	}
}

// Run runs all checks side by side, again and again, until ctx ends. One that hangs holds up no other for longer than
// its time, and is called again once it has returned.
func (b *Board) Run(ctx context.Context) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		b.mu.Lock()
		checks := slices.Clone(b.kept)
		b.mu.Unlock()
		var round sync.WaitGroup
		for i, k := range checks {
			round.Go(func() { b.run(ctx, i, k) })
		}
		round.Wait()
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (b *Board) run(ctx context.Context, i int, k kept) {
	if !k.busy.CompareAndSwap(false, true) {
		b.note(i, errHangs)
		return
	}
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := panics.Within(asking, grace, "the check", func() (struct{}, error) {
		defer k.busy.Store(false)
		return struct{}{}, k.check.Ready(asking)
	})
	if ctx.Err() == nil {
		b.note(i, err)
	}
}

// note keeps a result, and logs when it is another than the log says.
func (b *Board) note(i int, err error) {
	now := time.Now()
	b.mu.Lock()
	k := &b.kept[i]
	last := *k
	if last.at.IsZero() || (last.err == nil) != (err == nil) {
		k.since = now
	}
	k.err, k.at, k.well = err, now, last.well || err == nil
	k.warned = err != nil && (last.well || last.warned || now.Sub(k.since) >= settling)
	warned := k.warned
	// The first reason that is met may be the end of connections, and not what ended them.
	news := warned && (!last.warned || err.Error() != last.told && now.Sub(last.toldAt) >= again)
	if news {
		k.told, k.toldAt = err.Error(), now
	}
	b.mu.Unlock()
	name := last.check.Name
	ready := b.ready.WithLabelValues(name)
	if err != nil {
		ready.Set(0)
	} else {
		ready.Set(1)
	}
	switch {
	case news:
		b.log.Warn("not ready", "check", name, "error", err)
	case last.warned && !warned:
		// As loud as the warning that it ends.
		b.log.Warn("ready again", "check", name, "after", now.Sub(last.since).Round(time.Millisecond))
	}
}

// Results are the newest, in the order in which the checks were added.
func (b *Board) Results() []Result {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.kept) == 0 {
		return []Result{{Name: "start", Err: errUnknown}}
	}
	results := make([]Result, 0, len(b.kept))
	for _, k := range b.kept {
		r := Result{Name: k.check.Name, Err: k.err, Since: k.since}
		if !k.at.IsZero() && time.Since(k.at) > staleAfter {
			r.Err = errStale
		}
		results = append(results, r)
	}
	return results
}
