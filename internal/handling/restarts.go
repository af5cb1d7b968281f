package handling

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// raiseTimeout bounds how long noting a warning may take.
	raiseTimeout = 10 * time.Second
	// wholeWindow is how many percent of a budget are about all that one of its windows has.
	wholeWindow = 90
	// restartsAgain is how often the same budget is warned of.
	restartsAgain = time.Hour
	// mostRestarts bounds how many budgets are kept in memory. Beyond it all counting begins afresh.
	mostRestarts = 10_000
)

// restarts notices work that needs more requests than one window of a request budget has. A try that its budget refuses
// is deferred, and the next try begins anew: it can use up one window after the other and never end. The count of a
// window is that of all such tries, since items that are handled side by side share the window. First tries do not
// count, because they began when part of the window was used. The zero value is ready.
type restarts struct {
	mu    sync.Mutex
	known map[budget.Exhausted]restarted
}

// restarted is what tries of this process took from one budget for nothing.
type restarted struct {
	// window is the start of the window that requests and tries are of.
	window   time.Time
	requests int64
	tries    int
	// told is when it was last warned of.
	told time.Time
}

// add counts a try that the budget refused. It returns the count of the window, and whether to warn of it.
func (r *restarts) add(by budget.Exhausted, requests int64, now time.Time) (restarted, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := r.known[by]
	if window := now.Truncate(by.Limit.Window); !count.window.Equal(window) {
		count = restarted{window: window, told: count.told}
	}
	count.requests += requests
	count.tries++
	warn := isWholeWindow(count.requests, by.Limit) && (count.told.IsZero() || now.Sub(count.told) >= restartsAgain)
	if warn {
		count.told = now
	}
	if r.known == nil || len(r.known) >= mostRestarts {
		r.known = map[budget.Exhausted]restarted{}
	}
	r.known[by] = count
	return count, warn
}

func isWholeWindow(requests int64, limit contracts.RateLimit) bool {
	return requests*100 >= int64(limit.Limit)*wholeWindow
}

// Try is one try of an item or a webhook.
type Try struct {
	In        *contracts.Integration
	Event, ID string
	// Deferrals is how often the work was deferred in a row before this try.
	Deferrals int32
	Usage     *budget.Usage
}

// Restart adds to the error of a try that its budget refused how many requests the try took, and warns if such tries
// use up whole windows.
func (h *Handlers) Restart(ctx context.Context, err error, try Try) error {
	requests, by, refused := try.Usage.Exhausted()
	if !refused || requests == 0 || deferral.CauseOf(err) != deferral.Budget || contracts.IsPermanent(err) {
		return err
	}
	if try.Deferrals == 0 {
		return fmt.Errorf("after %d requests in this try: %w", requests, err)
	}
	if count, warn := h.restarts.add(by, requests, h.Now()); warn {
		h.Log.Warn("handlers need more requests than a window of the budget has: each try begins anew, and tries use "+
			"the budget up. "+
			"Raise the budget, make fewer requests for an item, or split the work",
			"provider", try.In.Provider(), "integration", try.In.Name(), "event", try.Event, "external_id", try.ID,
			"requests", requests,
			"limit", by.Limit.Limit, "window", by.Limit.Window, "tries_in_window", count.tries, "requests_in_window",
			count.requests)
		h.raiseRestarts(ctx, try, by.Limit)
	}
	if isWholeWindow(requests, by.Limit) {
		return fmt.Errorf("needs more requests than a window of the budget has, %d in this try: %w", requests, err)
	}
	return fmt.Errorf("after %d requests in this try, which began anew: %w", requests, err)
}

// raiseRestarts notes the warning in an incident of the integration. A sync that ends well clears it.
func (h *Handlers) raiseRestarts(ctx context.Context, try Try, limit contracts.RateLimit) {
	ctx, cancel := context.WithTimeout(ctx, raiseTimeout)
	defer cancel()
	signal := health.Signal{Source: health.SourceProvider, Severity: health.Degraded, Reason: foreign.Line(fmt.Sprintf(
		"handlers of %s need more requests than a window of the budget has: %d in %s", try.Event, limit.Limit,
		limit.Window))}
	id, err := uuid.Parse(try.In.ID())
	if err == nil {
		err = h.Store.InTx(ctx, func(tx *postgres.Tx) error {
			integration, err := tx.IntegrationLock(ctx, id)
			if err != nil {
				return err
			}
			return health.Raise(ctx, tx, integration, signal, h.Now())
		})
	}
	if err != nil && !postgres.NotFound(err) {
		h.Log.Warn("could not note in an incident that handlers need more requests than their budget has",
			"integration", try.In.Name(), "error", err)
	}
}
