package webhookwork

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
)

// claim hands out what is due, until ctx ends; then it waits for what is in work.
func (w *Worker) claim(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var running sync.WaitGroup
	ticker := time.NewTicker(w.Settings.Poll)
	defer ticker.Stop()
	for ctx.Err() == nil {
		var claimed bool
		err := watchdog.Step(ctx, "claim webhooks", func(ctx context.Context) (err error) {
			claimed, err = w.claimSome(ctx, work, &running)
			return err
		})
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("could not claim webhooks, trying again", "error", err)
		}
		if claimed && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-w.kicks:
		}
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	timer := time.NewTimer(w.Handlers.Settings.Grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		stopWork()
		w.Log.Warn("webhooks in work are left to other workers")
	}
	return nil
}

// claimSome takes as many as there is room for, and reports whether there may be more.
func (w *Worker) claimSome(ctx, work context.Context, running *sync.WaitGroup) (more bool, err error) {
	if err := w.mayClaim(ctx); err != nil {
		return false, err
	}
	if w.suspecting.Load() {
		return false, nil
	}
	free := w.room(ctx)
	for _, keys := range w.groups() {
		for _, suspects := range []bool{true, false} {
			if free == 0 || err != nil {
				break
			}
			most := free
			if suspects {
				most = 1
			}
			var rows []*dbsqlc.WebhookClaimRow
			rows, err = w.claimRows(ctx, work, keys, most, suspects)
			w.handOut(ctx, work, rows, running)
			free -= len(rows)
			more = more || len(rows) > 0
			if suspects && len(rows) > 0 {
				w.giveBack(free)
				return false, nil
			}
		}
	}
	w.giveBack(free)
	return more, err
}

// claimRows claims webhooks. A claim that has been asked for when the worker is told to stop is waited for: if nobody
// knew what came of it, its webhooks would stay in work until their lease ends, and be charged with a death.
func (w *Worker) claimRows(ctx, work context.Context, keys []string, most int, suspects bool) (
	[]*dbsqlc.WebhookClaimRow, error,
) {
	p := w.claimParams(ctx, keys, most)
	p.SuspectAfter, p.Suspects = suspectAfter, suspects
	claiming, cancel := context.WithCancel(work)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.Handlers.Settings.Grace, cancel) })()
	rows, err := w.Store.WebhookClaim(claiming, p)
	if err != nil {
		return nil, fmt.Errorf("claim webhooks: %w", err)
	}
	w.Crash("item-worker: webhooks claimed")
	// Before it is in work, so that nothing is claimed beside it.
	w.suspecting.Store(suspects && len(rows) > 0)
	return rows, nil
}

func (w *Worker) handOut(ctx, work context.Context, rows []*dbsqlc.WebhookClaimRow, running *sync.WaitGroup) {
	for _, row := range rows {
		w.hold(row)
		free := sync.OnceFunc(func() {
			if row.Crashes >= suspectAfter {
				w.suspecting.Store(false)
			}
			<-w.slots
			loop.Kick(w.kicks)
		})
		running.Go(func() {
			defer free()
			w.work(ctx, work, row, free)
		})
	}
}

func (w *Worker) giveBack(slots int) {
	for range slots {
		<-w.slots
	}
}

// groups are the providers that are claimed together: those whose deliveries have an order one by one, for each has its
// own place in the stream.
func (w *Worker) groups() [][]string {
	groups := make([][]string, 0, len(w.ordered)+1)
	for _, key := range w.ordered {
		groups = append(groups, []string{key})
	}
	if len(w.unordered) > 0 {
		groups = append(groups, w.unordered)
	}
	return groups
}

func (w *Worker) claimParams(ctx context.Context, keys []string, most int) dbsqlc.WebhookClaimParams {
	now := w.Now()
	lease := now.Add(w.Bus.Timing().WorkerLease)
	p := dbsqlc.WebhookClaimParams{
		Now: now, LeaseUntil: lease, Providers: keys, Most: int32(min(most, claimedAtATime)),
		SettledBefore: now.Add(-2 * w.Bus.Timing().AckWait),
	}
	if len(w.ordered) > 0 && keys[0] == w.ordered[0] || len(keys) == 1 {
		settled, err := w.Bus.Settled(ctx, wire.StreamWebhooks,
			wire.WebhooksConsumer(keys[0], w.Bus.Timing()).Durable)
		if err != nil {
			w.Log.Debug("how far the stream is stored is not known; webhooks with an order wait", "provider",
				keys[0], "error", err)
		}
		p.Settled = int64(settled)
	}
	return p
}

// room takes the free slots: at least one, unless ctx ends first.
func (w *Worker) room(ctx context.Context) int {
	taken := 0
	select {
	case w.slots <- struct{}{}:
		taken++
	case <-ctx.Done():
		return 0
	}
	for taken < cap(w.slots) {
		select {
		case w.slots <- struct{}{}:
			taken++
		default:
			return taken
		}
	}
	return taken
}

func (w *Worker) hold(row *dbsqlc.WebhookClaimRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) == 0 {
		w.renewedAt = w.Now()
	}
	w.held[row.ID] = row.Attempt
}

func (w *Worker) release(row *dbsqlc.WebhookClaimRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[row.ID] == row.Attempt {
		delete(w.held, row.ID)
	}
}

// renew shows that the claims in work are not abandoned.
func (w *Worker) renew(ctx context.Context) {
	ticker := time.NewTicker(w.Bus.Timing().WorkerLease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := watchdog.Step(ctx, "renew claims on webhooks", func(ctx context.Context) error {
			return w.renewHeld(ctx)
		})
		if err != nil && ctx.Err() == nil {
			w.Log.Debug("claims on webhooks not renewed", "error", err)
		}
	}
}

func (w *Worker) renewHeld(ctx context.Context) error {
	now := w.Now()
	p := dbsqlc.WebhookRenewParams{LeaseUntil: now.Add(w.Bus.Timing().WorkerLease)}
	w.mu.Lock()
	for id, attempt := range w.held {
		p.Ids = append(p.Ids, id)
		p.Attempts = append(p.Attempts, attempt)
	}
	w.mu.Unlock()
	if len(p.Ids) > 0 {
		if err := w.Store.WebhookRenew(ctx, p); err != nil {
			return fmt.Errorf("renew claims on webhooks: %w", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewedAt = now
	return nil
}

// mayClaim renews what is in work first, when that is overdue because the database was away: else this worker would
// take its own claims for abandoned.
func (w *Worker) mayClaim(ctx context.Context) error {
	w.mu.Lock()
	overdue := len(w.held) > 0 && w.Now().Sub(w.renewedAt) > w.Bus.Timing().WorkerLease/2
	w.mu.Unlock()
	if !overdue {
		return nil
	}
	return w.renewHeld(ctx)
}
