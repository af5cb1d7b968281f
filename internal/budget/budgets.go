// Package budget keeps to the request budgets of upstreams: each process leases units of a budget from a cell that all
// share, and what an upstream says about its own count goes before. Package outbound asks it before each request.
package budget

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// awayFor is for how long a request is deferred while the broker does not answer.
	awayFor = 2 * time.Second
	// mostAccounts bounds how many accounts are kept in memory. Beyond it all are dropped, and their leases count as
	// spent.
	mostAccounts = 10_000
	// saidKey ends the key of a cell that holds what the upstream said.
	saidKey = ".said"
)

// Budgets are the parts that a process has of all request budgets. See [Budgets.Admit].
type Budgets struct {
	cells   cells.Cells
	clock   cells.Clock
	log     *slog.Logger
	metrics *Metrics
	now     func() time.Time

	mu       sync.Mutex
	accounts map[accountID]*account
	// suppressed is until when an upstream wants no requests, by the broker's clock.
	suppressed map[string]time.Time
	// lifts are the revisions of the cells by which operators have last lifted that.
	lifts map[string]uint64
}

// accountID tells accounts apart: a budget that is overridden for one of several integrations has two of them on one
// cell.
type accountID struct {
	key   string
	limit contracts.RateLimit
}

// errLeftAlone is why nothing is sent to an upstream that has asked for that. For those who wait it is a budget that is
// used up.
var errLeftAlone error = leftAloneError{}

type leftAloneError struct{}

func (leftAloneError) Error() string { return "the upstream asks to be left alone" }
func (leftAloneError) Unwrap() error { return contracts.ErrBudgetExhausted }

// said is what an upstream asked for: the value of its cell. Without a time, what it asked for was lifted.
type said struct {
	Until time.Time `json:"until"`
}

// New returns budgets that are shared through cells. now may be wrong: windows go by the clock.
func New(cells cells.Cells, clock cells.Clock, log *slog.Logger, metrics *Metrics, now func() time.Time) *Budgets {
	return &Budgets{
		cells: countingCells{cells, metrics}, clock: clock, log: log, metrics: metrics, now: now,
		accounts: map[accountID]*account{}, suppressed: map[string]time.Time{}, lifts: map[string]uint64{},
	}
}

// Run watches what upstreams said to other processes, until ctx ends.
func (b *Budgets) Run(ctx context.Context) error {
	return b.cells.Watch(ctx, "*.*"+saidKey, func(key string, value []byte, revision uint64) {
		var s said
		if json.Unmarshal(value, &s) != nil {
			return
		}
		// The time is the broker's. If it can't be asked, this process's own has to do.
		if err := b.clock.Refresh(ctx); err != nil {
			b.log.Debug("heard of an upstream that wants to be left alone, by a clock that is not known", "budget",
				key, "error", err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if key = strings.TrimSuffix(key, saidKey); s.Until.IsZero() {
			b.noteLift(key, revision)
			return
		}
		b.noteSuppressed(key, s.Until)
	})
}

func (b *Budgets) account(key string, limit contracts.RateLimit) *account {
	id := accountID{key: key, limit: limit}
	b.mu.Lock()
	defer b.mu.Unlock()
	if have := b.accounts[id]; have != nil {
		return have
	}
	if len(b.accounts) >= mostAccounts {
		clear(b.accounts)
	}
	opened := newAccount(b.cells, b.clock, spendingKey(key, limit), limit, b.now)
	b.accounts[id] = opened
	return opened
}

// spendingKey has the window's length in it, for another length is another count.
func spendingKey(key string, limit contracts.RateLimit) string {
	return key + "." + limit.Window.String()
}

// earliest is the earliest that the broker's clock can show; this process's own while that is not known, which serves
// for suppression alone.
func (b *Budgets) earliest() time.Time {
	if earliest, _, known := b.clock.Bounds(); known {
		return earliest
	}
	return b.now()
}

func (b *Budgets) suppressedUntil(key string) (time.Time, bool) {
	b.mu.Lock()
	until, ok := b.suppressed[key]
	b.mu.Unlock()
	if !ok {
		return time.Time{}, false
	}
	if b.earliest().Before(until) {
		return until, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.suppressed[key].Equal(until) {
		delete(b.suppressed, key)
	}
	return time.Time{}, false
}

// noteSuppressed is called under the lock; the longer time wins, and one that is over is not kept.
func (b *Budgets) noteSuppressed(key string, until time.Time) bool {
	if !until.After(b.suppressed[key]) || !until.After(b.earliest()) {
		return false
	}
	b.suppressed[key] = until
	return true
}

// Learn takes an upstream's word: for a time without requests, which all processes keep, or for a budget that is
// smaller than ours.
func (b *Budgets) Learn(ctx context.Context, key string, limit *contracts.RateLimit, report contracts.RateReport) {
	wait := report.Wait
	if report.Reset > 0 && report.Remaining == 0 {
		wait = max(wait, report.Reset)
	}
	switch {
	case wait > 0:
		b.suppress(context.WithoutCancel(ctx), key, wait)
	case report.Reset > 0 && limit != nil:
		if _, latest, known := b.clock.Bounds(); known {
			b.account(key, *limit).hear(int64(report.Remaining), latest.Add(report.Reset))
		}
	}
}

// suppress stops requests to an upstream for a time, in all processes. In this one it holds at once, also if the broker
// is away.
func (b *Budgets) suppress(ctx context.Context, key string, wait time.Duration) {
	refreshed := b.clock.Refresh(ctx)
	until := b.earliest().Add(wait)
	b.mu.Lock()
	// Many requests get the same answer at about the same time. Only the first one writes the cell.
	known := until.Sub(b.suppressed[key]) < time.Second
	noted := b.noteSuppressed(key, until)
	b.mu.Unlock()
	if known || !noted {
		return
	}
	provider, _, _ := strings.Cut(key, ".")
	b.metrics.suppressed(provider)
	b.log.Info("the upstream asks to be left alone", "provider", provider, "budget", key, "for", wait)
	err := refreshed
	if err == nil {
		err = b.tellSuppressed(ctx, key, until)
	}
	if err != nil {
		b.log.Warn("other processes were not told to leave the upstream alone", "provider", provider, "budget",
			key, "error", err)
	}
}

// noteLift is called under the lock. A watch that starts over brings an old lift again, which changes nothing for
// requests that wait: its revision is the same.
func (b *Budgets) noteLift(key string, revision uint64) {
	delete(b.suppressed, key)
	b.lifts[key] = revision
}

// Lifted is a number that changes with each [Budgets.Lift].
func (b *Budgets) Lifted(key string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lifts[key]
}

// Lift has all processes send requests again to an upstream that has asked to be left alone: whoever does that has
// looked at it. It asks again with its next answer, if it still wants that. Requests that wait in place because an
// answer asked them to are sent, too, also where no cell says so.
func (b *Budgets) Lift(ctx context.Context, provider contracts.Provider, in *contracts.Integration) error {
	key, err := boundedKey(provider, in)
	if err != nil {
		return err
	}
	value, err := json.Marshal(said{})
	if err != nil {
		return err
	}
	for {
		_, revision, err := b.cells.Read(ctx, key+saidKey)
		if err != nil {
			return err
		}
		lifted, ok, err := b.cells.Write(ctx, key+saidKey, value, revision)
		if err != nil {
			return err
		}
		if ok {
			b.mu.Lock()
			b.noteLift(key, lifted)
			b.mu.Unlock()
			return nil
		}
	}
}

func (b *Budgets) tellSuppressed(ctx context.Context, key string, until time.Time) error {
	value, err := json.Marshal(said{Until: until})
	if err != nil {
		return err
	}
	for {
		have, revision, err := b.cells.Read(ctx, key+saidKey)
		if err != nil {
			return err
		}
		var s said
		if len(have) > 0 && json.Unmarshal(have, &s) == nil && !until.After(s.Until) {
			return nil
		}
		if _, ok, err := b.cells.Write(ctx, key+saidKey, value, revision); ok || err != nil {
			return err
		}
	}
}

// countingCells counts round trips to the broker.
type countingCells struct {
	cells.Cells
	metrics *Metrics
}

func (c countingCells) Read(ctx context.Context, key string) ([]byte, uint64, error) {
	c.metrics.trips.Inc()
	return c.Cells.Read(ctx, key)
}

func (c countingCells) Write(ctx context.Context, key string, value []byte, revision uint64) (uint64, bool, error) {
	c.metrics.trips.Inc()
	return c.Cells.Write(ctx, key, value, revision)
}
