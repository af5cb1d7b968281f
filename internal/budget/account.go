package budget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// shareOf limits a lease to one part in so many of the free units, so that other processes can lease some too.
	shareOf = 8
	// A lease that is used up within busyWithin doubles the next one. One that lasts longer than idleAfter halves it,
	// and its unused units are given back.
	busyWithin = 100 * time.Millisecond
	idleAfter  = time.Second
	// trickle is for how many units of a sliding window an account waits: as many as become free in this time.
	trickle = 50 * time.Millisecond
	// askAgain is how often a process that found no unit free reads the cell again. Others may have given units back.
	askAgain = time.Second
	// mostTries is how often a process tries to get a lease while others are faster.
	mostTries = 100
)

// errNoTime is returned while nothing is known about the broker's clock.
var errNoTime = errors.New("the broker's time is not known")

// account is one process's part of a budget. It leases several units of a window at a time from the cell that all
// processes share. Requests use them while the broker's clock is certainly in that window. At most one goroutine of an
// account reads or writes the cell at a time.
type account struct {
	cells cells.Cells
	clock cells.Clock
	key   string
	limit contracts.RateLimit
	now   func() time.Time

	mu    sync.Mutex
	lease lease
	// leasing is closed when the goroutine that uses the cell is done. It is nil while none does. failed is its error.
	leasing chan struct{}
	failed  error
	waiting int64
	size    int64
	// emptyUntil is when a unit will be free, as read at asked.
	emptyUntil, asked time.Time
	// told is what the upstream said is left. The next goroutine that uses the cell writes it there.
	told struct {
		left  int64
		until time.Time
	}

	// spent and revision are the cell as last read or written. stale says that it must be read. Only the goroutine that
	// uses the cell touches them.
	spent    spending
	revision uint64
	stale    bool
}

// lease is units of one window.
type lease struct {
	units  int64
	window time.Time
	// since is by this process's clock.
	since time.Time
}

func newAccount(cells cells.Cells, clock cells.Clock, key string, limit contracts.RateLimit,
	now func() time.Time,
) *account {
	return &account{cells: cells, clock: clock, key: key, limit: limit, now: now, size: 1, stale: true}
}

// take takes one unit. If there is none it returns when there may be, by the broker's clock.
func (a *account) take(ctx context.Context) (again time.Time, err error) {
	a.mu.Lock()
	for {
		if a.use() {
			a.mu.Unlock()
			return time.Time{}, nil
		}
		if earliest, _, known := a.clock.Bounds(); known && earliest.Before(a.emptyUntil) &&
			a.now().Sub(a.asked) < askAgain {
			defer a.mu.Unlock()
			return a.emptyUntil, nil
		}
		if a.leasing == nil {
			return a.lead(ctx)
		}
		done := a.leasing
		a.waiting++
		a.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		a.mu.Lock()
		a.waiting--
		if err := errors.Join(ctx.Err(), a.failed); err != nil {
			a.mu.Unlock()
			return time.Time{}, err
		}
	}
}

// use takes a unit of the lease while it is certainly valid. It is called under the lock.
func (a *account) use() bool {
	if a.lease.units == 0 {
		return false
	}
	earliest, latest, known := a.clock.Bounds()
	if !known || earliest.Before(a.lease.window) || !latest.Before(a.lease.window.Add(a.limit.Window)) {
		return false
	}
	a.lease.units--
	return true
}

// lead gets a lease for all requests that wait. It is called with the lock, and unlocks.
func (a *account) lead(ctx context.Context) (again time.Time, err error) {
	lasted := a.now().Sub(a.lease.since)
	switch {
	case lasted < busyWithin:
		a.size *= 2
	case lasted > idleAfter:
		a.size = max(a.size/2, 1)
	}
	want := max(a.size, a.waiting+1)
	a.size = min(want, int64(a.limit.Limit))
	leave := a.enter()
	// The waiting requests need the lease even if the caller of lead gives up.
	got, again, err := a.acquire(context.WithoutCancel(ctx), want)
	a.mu.Lock()
	defer a.mu.Unlock()
	defer leave(err)
	switch {
	case err != nil:
		return time.Time{}, err
	case got.units == 0:
		a.emptyUntil, a.asked = again, a.now()
		return again, nil
	}
	// The caller's own unit is taken here, because the waiting requests might take all.
	a.lease = got
	if !a.use() {
		return got.window.Add(a.limit.Window), nil
	}
	if a.lease.units > 0 {
		time.AfterFunc(idleAfter, func() { a.giveBack(got.since) })
	}
	return time.Time{}, nil
}

// enter gives the caller the cell until it calls leave with the lock. enter is called with the lock, and unlocks.
func (a *account) enter() (leave func(failed error)) {
	done := make(chan struct{})
	a.leasing = done
	a.mu.Unlock()
	return func(failed error) {
		a.leasing, a.failed = nil, failed
		close(done)
	}
}

// acquire leases up to want units, or finds out when there will be some.
func (a *account) acquire(ctx context.Context, want int64) (got lease, again time.Time, err error) {
	window := a.limit.Window
	for try := range mostTries {
		if err := a.clock.Refresh(ctx); err != nil {
			return lease{}, time.Time{}, err
		}
		fresh := a.stale
		if err := a.read(ctx); err != nil {
			return lease{}, time.Time{}, err
		}
		earliest, latest, known := a.clock.Bounds()
		if !known {
			return lease{}, time.Time{}, errNoTime
		}
		start := windowAt(earliest, window)
		if !windowAt(latest, window).Equal(start) {
			// It may be this window or the next.
			if err := sleep(ctx, start.Add(window).Sub(earliest)); err != nil {
				return lease{}, time.Time{}, err
			}
			continue
		}
		spent := a.heed(a.spent.at(start, window), earliest)
		if spent.Start.After(start) {
			// Another process has seen a later window.
			return lease{}, spent.Start, nil
		}
		free := spent.free(a.limit, earliest)
		if free == 0 && !fresh {
			a.stale = true
			continue
		}
		if free == 0 {
			return lease{}, spent.again(a.limit, a.enough(), earliest), nil
		}
		units := min(want, max(free/shareOf, a.enough()), free)
		since := a.now()
		if ok, err := a.write(ctx, spent.take(units)); err != nil {
			return lease{}, time.Time{}, err
		} else if ok {
			return lease{units: units, window: start, since: since}, time.Time{}, nil
		}
		if err := sleep(ctx, rand.N(time.Duration(min(try, 10)+1)*time.Millisecond)); err != nil {
			return lease{}, time.Time{}, err
		}
	}
	return lease{}, time.Time{}, fmt.Errorf("the budget %s is contended", a.key)
}

// enough is for how many free units an account waits.
func (a *account) enough() int64 {
	if !a.limit.IsSliding {
		return 1
	}
	return max(int64(a.limit.Limit)*int64(trickle)/int64(a.limit.Window), 1)
}

// heed narrows the spending by what the upstream said is left, if that is less than our count. It is idempotent.
func (a *account) heed(spent spending, at time.Time) spending {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.Before(a.told.until) && a.told.left < spent.free(a.limit, at) {
		spent = spent.narrow(a.told.left, a.told.until, at)
	}
	return spent
}

// hear notes how many requests the upstream still allows, until a moment of the broker's clock.
func (a *account) hear(left int64, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told.until.IsZero() || left < a.told.left || until.Sub(a.told.until) > sameReset {
		a.told.left, a.told.until = left, until
	}
	a.lease.units = min(a.lease.units, left)
}

// giveBack returns the unused units of a lease. Units that can't be returned count as spent.
func (a *account) giveBack(since time.Time) {
	a.mu.Lock()
	if a.leasing != nil || !a.lease.since.Equal(since) || a.lease.units == 0 {
		a.mu.Unlock()
		return
	}
	unused := a.lease
	a.lease.units = 0
	leave := a.enter()
	ctx := context.Background() // a cell's own deadline is short
	for range 3 {
		if a.read(ctx) != nil || !a.spent.Start.Equal(unused.window) {
			break
		}
		if ok, err := a.write(ctx, a.spent.take(-unused.units)); ok || err != nil {
			break
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	leave(nil)
}

// read reads the cell unless it is known.
func (a *account) read(ctx context.Context) error {
	if !a.stale {
		return nil
	}
	value, revision, err := a.cells.Read(ctx, a.key)
	if err != nil {
		return err
	}
	a.spent, a.revision, a.stale = spending{}, revision, false
	if len(value) == 0 {
		return nil
	}
	if err := json.Unmarshal(value, &a.spent); err != nil {
		a.stale = true
		return fmt.Errorf("read the budget %s: %w", a.key, err)
	}
	return nil
}

// write sets the cell by compare-and-set. If another process was faster, the cell must be read again.
func (a *account) write(ctx context.Context, next spending) (bool, error) {
	value, err := json.Marshal(next)
	if err != nil {
		return false, fmt.Errorf("encode the budget %s: %w", a.key, err)
	}
	revision, ok, err := a.cells.Write(ctx, a.key, value, a.revision)
	if err != nil || !ok {
		a.stale = true
		return false, err
	}
	a.spent, a.revision = next, revision
	return true, nil
}
