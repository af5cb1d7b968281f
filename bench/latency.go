package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/runstate"
)

// smallRun is how many items the runs have whose latency is measured.
const smallRun = 10

// latencies are from a command to the moved cursor.
type latencies struct{ idle, beside []time.Duration }

// measureLatency times small runs one after the other: on an idle system, then beside a large run of the same provider.
func measureLatency(ctx context.Context, t *tributary, opts options) (*latencies, error) {
	var l latencies
	err := errors.Join(ctx.Err())
	for len(l.idle) < opts.small && err == nil {
		err = l.once(ctx, t, &l.idle)
	}
	for len(l.beside) < opts.small && err == nil {
		err = l.besideBacklog(ctx, t, opts)
	}
	if err != nil {
		return nil, fmt.Errorf("measure latency: %w", err)
	}
	return &l, nil
}

func (l *latencies) once(ctx context.Context, t *tributary, into *[]time.Duration) error {
	id, err := t.create(ctx, kindQuick, smallRun)
	if err != nil {
		return err
	}
	started := time.Now()
	if err := t.sync(ctx, id); err != nil {
		return err
	}
	*into = append(*into, time.Since(started))
	_, err = t.store.IntegrationDelete(ctx, id)
	return err
}

// besideBacklog times small runs for as long as one large run takes, and leaves out the one during which it ended.
func (l *latencies) besideBacklog(ctx context.Context, t *tributary, opts options) error {
	id, err := t.create(ctx, kindQuick, opts.backlog)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- t.sync(ctx, id) }()
	if err := t.awaitEnumerating(ctx, id, ended); err != nil {
		return err
	}
	before := len(l.beside)
	for {
		kept := len(l.beside)
		if err := l.once(ctx, t, &l.beside); err != nil {
			return err
		}
		select {
		case err := <-ended:
			l.beside = l.beside[:kept]
			if kept == before && err == nil {
				err = errors.New("no small run ended before the backlog; take a larger one with -backlog")
			}
			fmt.Fprintf(os.Stderr, "latency  %d small runs beside a backlog\n", kept-before)
			return errors.Join(err, t.clear(ctx, id))
		default:
		}
	}
}

// awaitEnumerating returns once a run hands its items over.
func (t *tributary) awaitEnumerating(ctx context.Context, id uuid.UUID, ended <-chan error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		run, err := t.store.RunGetOpen(ctx, id)
		if err == nil && run.State == runstate.Enumerating {
			return nil
		}
		select {
		case err := <-ended:
			return errors.Join(errors.New("the backlog ended at once; take a larger one with -backlog"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// quantile is the smallest value that the share q of all values does not exceed.
func quantile(values []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
