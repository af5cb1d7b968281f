package itemworker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// WebhookSettings are the numbers that webhooks are worked on by.
type WebhookSettings struct {
	// Concurrency is how many are in work at a time.
	Concurrency int
	// Tries is how often one may fail before it waits for a replay.
	Tries int
	// Backoff is the wait after each failed try, the last one repeated; spread by 20 % either way.
	Backoff []time.Duration
	// Window is how long after its first try one may still be deferred.
	Window time.Duration
	// Crashes is after how many deaths of its worker one counts as their cause.
	Crashes int
	// Poll is how often those that are due are looked for, beside when there is news.
	Poll time.Duration
}

// DefaultWebhookSettings are the original's back-off, with a try after each of its waits.
func DefaultWebhookSettings() WebhookSettings {
	return WebhookSettings{
		Concurrency: 64, Tries: 6, Window: 72 * time.Hour, Crashes: 3, Poll: time.Second,
		Backoff: []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour},
	}
}

const (
	// storedAtATime and claimedAtATime bound what one statement takes.
	storedAtATime  = 200
	claimedAtATime = 100
	// patience is how long a delivery rests while the database is away.
	patience = 2 * time.Second
)

// webhooks is the half of a worker that takes webhooks: off the stream into the table, and from there to their handlers.
type webhooks struct {
	*Worker
	// unordered and ordered are the keys of the providers that take webhooks.
	unordered, ordered []string
	stores             *gatherer[stored]
	looks              *gatherer[*lateLook]
	finishes           *gatherer[finished]
	kicks              chan struct{}
	slots              chan struct{}

	// suspecting says that a delivery is in work that may kill the process: nothing is claimed beside it, to be charged with its deed.
	suspecting atomic.Bool
	// unwritten are the claims with an outcome that Postgres refuses.
	unwritten atomic.Int64

	mu sync.Mutex
	// held are the claims in work, and their attempts; renewedAt is when all were last renewed.
	held      map[uuid.UUID]int32
	renewedAt time.Time
	// apart are deliveries that are stored alone.
	apart map[uuid.UUID]bool
}

func newWebhooks(w *Worker) *webhooks {
	h := &webhooks{
		Worker: w, kicks: make(chan struct{}, 1), slots: make(chan struct{}, w.Settings.Webhooks.Concurrency), held: map[uuid.UUID]int32{}, apart: map[uuid.UUID]bool{},
	}
	h.stores = newGatherer(storedAtATime, h.store)
	h.looks = newGatherer(storedAtATime, h.look)
	h.finishes = newGatherer(storedAtATime, h.finish)
	for _, key := range w.Registry.Keys() {
		provider, err := w.Registry.Provider(key)
		if err != nil {
			continue
		}
		if _, ok := provider.(contracts.WebhookHandler); !ok {
			continue
		}
		if _, ok := provider.(contracts.WebhookOrderer); ok {
			h.ordered = append(h.ordered, key)
		} else {
			h.unordered = append(h.unordered, key)
		}
	}
	return h
}

// run works until ctx ends. What is written goes on a little longer, for those that are in work then.
func (h *webhooks) run(ctx context.Context) error {
	if len(h.ordered)+len(h.unordered) == 0 {
		return nil
	}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go h.stores.run(lasting)
	go h.looks.run(lasting)
	go h.finishes.run(lasting)
	go h.renew(lasting)
	group, ctx := errgroup.WithContext(ctx)
	for _, keys := range [][]string{h.ordered, h.unordered} {
		for _, key := range keys {
			group.Go(func() error {
				return h.Bus.Consume(ctx, bus.Consumption{
					Stream: wire.StreamWebhooks, Consumer: wire.WebhooksConsumer(key, h.Bus.Timing()),
					Slots: 2 * storedAtATime, Grace: h.Settings.Grace, Hold: h.Store.Ready, Handle: h.take,
				})
			})
		}
	}
	group.Go(func() error { return h.claim(ctx) })
	return group.Wait()
}

// claim hands out what is due, until ctx ends; then it waits for what is in work.
func (h *webhooks) claim(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var running sync.WaitGroup
	ticker := time.NewTicker(h.Settings.Webhooks.Poll)
	defer ticker.Stop()
	for ctx.Err() == nil {
		var claimed bool
		err := watchdog.Step(ctx, "claim webhooks", func(ctx context.Context) (err error) {
			claimed, err = h.claimSome(ctx, work, &running)
			return err
		})
		if err != nil && ctx.Err() == nil {
			h.Log.Warn("could not claim webhooks, trying again", "error", err)
		}
		if claimed && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-h.kicks:
		}
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	timer := time.NewTimer(h.Settings.Grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		stopWork()
		h.Log.Warn("webhooks in work are left to other workers")
	}
	return nil
}

// claimSome takes as many as there is room for, and reports whether there may be more.
func (h *webhooks) claimSome(ctx, work context.Context, running *sync.WaitGroup) (more bool, err error) {
	if err := h.mayClaim(ctx); err != nil {
		return false, err
	}
	if h.suspecting.Load() {
		return false, nil
	}
	free := h.room(ctx)
	for _, keys := range h.groups() {
		for _, suspects := range []bool{true, false} {
			if free == 0 || err != nil {
				break
			}
			most := free
			if suspects {
				most = 1
			}
			var rows []*dbsqlc.WebhookClaimRow
			rows, err = h.claimRows(ctx, work, keys, most, suspects)
			h.handOut(ctx, work, rows, running)
			free -= len(rows)
			more = more || len(rows) > 0
			if suspects && len(rows) > 0 {
				h.giveBack(free)
				return false, nil
			}
		}
	}
	h.giveBack(free)
	return more, err
}

// claimRows claims webhooks. A claim that has been asked for when the worker is told to stop is waited for: if nobody
// knew what came of it, its webhooks would stay in work until their lease ends, and be charged with a death.
func (h *webhooks) claimRows(ctx, work context.Context, keys []string, most int, suspects bool) ([]*dbsqlc.WebhookClaimRow, error) {
	p := h.claimParams(ctx, keys, most)
	p.SuspectAfter, p.Suspects = suspectAfter, suspects
	claiming, cancel := context.WithCancel(work)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(h.Settings.Grace, cancel) })()
	rows, err := h.Store.WebhookClaim(claiming, p)
	if err != nil {
		return nil, fmt.Errorf("claim webhooks: %w", err)
	}
	h.Crash("item-worker: webhooks claimed")
	// Before it is in work, so that nothing is claimed beside it.
	h.suspecting.Store(suspects && len(rows) > 0)
	return rows, nil
}

func (h *webhooks) handOut(ctx, work context.Context, rows []*dbsqlc.WebhookClaimRow, running *sync.WaitGroup) {
	for _, row := range rows {
		h.hold(row)
		free := sync.OnceFunc(func() {
			if row.Crashes >= suspectAfter {
				h.suspecting.Store(false)
			}
			<-h.slots
			h.kick()
		})
		running.Go(func() {
			defer free()
			h.work(ctx, work, row, free)
		})
	}
}

func (h *webhooks) giveBack(slots int) {
	for range slots {
		<-h.slots
	}
}

// groups are the providers that are claimed together: those whose deliveries have an order one by one, for each has its own place in the stream.
func (h *webhooks) groups() [][]string {
	groups := make([][]string, 0, len(h.ordered)+1)
	for _, key := range h.ordered {
		groups = append(groups, []string{key})
	}
	if len(h.unordered) > 0 {
		groups = append(groups, h.unordered)
	}
	return groups
}

func (h *webhooks) claimParams(ctx context.Context, keys []string, most int) dbsqlc.WebhookClaimParams {
	now := h.Now()
	lease := now.Add(h.Bus.Timing().WorkerLease)
	p := dbsqlc.WebhookClaimParams{
		Now: now, LeaseUntil: lease, Providers: keys, Most: int32(min(most, claimedAtATime)), SettledBefore: now.Add(-2 * h.Bus.Timing().AckWait),
	}
	if len(h.ordered) > 0 && keys[0] == h.ordered[0] || len(keys) == 1 {
		settled, err := h.Bus.Settled(ctx, wire.StreamWebhooks, wire.WebhooksConsumer(keys[0], h.Bus.Timing()).Durable)
		if err != nil {
			h.Log.Debug("how far the stream is stored is not known; webhooks with an order wait", "provider", keys[0], "error", err)
		}
		p.Settled = int64(settled)
	}
	return p
}

// room takes the free slots: at least one, unless ctx ends first.
func (h *webhooks) room(ctx context.Context) int {
	taken := 0
	select {
	case h.slots <- struct{}{}:
		taken++
	case <-ctx.Done():
		return 0
	}
	for taken < cap(h.slots) {
		select {
		case h.slots <- struct{}{}:
			taken++
		default:
			return taken
		}
	}
	return taken
}

func (h *webhooks) kick() {
	select {
	case h.kicks <- struct{}{}:
	default:
	}
}

func (h *webhooks) hold(row *dbsqlc.WebhookClaimRow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		h.renewedAt = h.Now()
	}
	h.held[row.ID] = row.Attempt
}

func (h *webhooks) release(row *dbsqlc.WebhookClaimRow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[row.ID] == row.Attempt {
		delete(h.held, row.ID)
	}
}

// renew shows that the claims in work are not abandoned.
func (h *webhooks) renew(ctx context.Context) {
	ticker := time.NewTicker(h.Bus.Timing().WorkerLease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := watchdog.Step(ctx, "renew claims on webhooks", func(ctx context.Context) error { return h.renewHeld(ctx) })
		if err != nil && ctx.Err() == nil {
			h.Log.Debug("claims on webhooks not renewed", "error", err)
		}
	}
}

func (h *webhooks) renewHeld(ctx context.Context) error {
	now := h.Now()
	p := dbsqlc.WebhookRenewParams{LeaseUntil: now.Add(h.Bus.Timing().WorkerLease)}
	h.mu.Lock()
	for id, attempt := range h.held {
		p.Ids = append(p.Ids, id)
		p.Attempts = append(p.Attempts, attempt)
	}
	h.mu.Unlock()
	if len(p.Ids) > 0 {
		if err := h.Store.WebhookRenew(ctx, p); err != nil {
			return fmt.Errorf("renew claims on webhooks: %w", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewedAt = now
	return nil
}

// mayClaim renews what is in work first, when that is overdue because the database was away: else this worker would take its own claims for abandoned.
func (h *webhooks) mayClaim(ctx context.Context) error {
	h.mu.Lock()
	overdue := len(h.held) > 0 && h.Now().Sub(h.renewedAt) > h.Bus.Timing().WorkerLease/2
	h.mu.Unlock()
	if !overdue {
		return nil
	}
	return h.renewHeld(ctx)
}
