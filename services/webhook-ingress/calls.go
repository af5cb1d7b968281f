package webhookingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
)

// errNoAnswer means that a provider's code came to nothing in its time, or is not called for now.
var errNoAnswer = errors.New("the provider's code does not answer")

// calls bounds how long a provider's code may hold a request. A call that takes longer is left behind. While a provider
// has most of those it is not called, so that each of them costs memory or a processor once, and not with every
// request.
type calls struct {
	log     *slog.Logger
	timeout time.Duration
	most    int
	mu      sync.Mutex
	// left counts, for each provider, the calls that were left behind and have not returned since.
	left map[string]int
}

func newCalls(config Config) *calls {
	settings := config.Settings
	return &calls{log: config.Log, timeout: settings.CallTimeout, most: max(settings.Checks, 1), left: map[string]int{}}
}

// callGrace is how long a call may take to return after its context has ended.
const callGrace = 500 * time.Millisecond

// callsOfRequest is how often a provider's code is called for one request: whose it is, whether its signature is right,
// what account it is about, and what its id is.
const callsOfRequest = 4

// ask calls a provider's code. The error is f's own, or [errNoAnswer].
func ask[T any](ctx context.Context, c *calls, provider string, f func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if c.stuck(provider) {
		return none, errNoAnswer
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	this := &asked{calls: c, provider: provider}
	value, err := panics.Within(ctx, callGrace, "the provider", func() (T, error) {
		defer this.end()
		return f(ctx)
	})
	if errors.Is(err, panics.ErrLeftBehind) {
		this.leave()
		return none, errNoAnswer
	}
	return value, err
}

// unlessLate takes a failure that came after the end of its time for no answer: the end of the context may have caused
// it.
func unlessLate(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return nil
}

// stuck reports whether too many calls of a provider have not returned.
func (c *calls) stuck(provider string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left[provider] >= c.most
}

// asked is one call.
type asked struct {
	calls       *calls
	provider    string
	ended, left bool
}

// end is called when the provider's code has returned.
func (a *asked) end() {
	a.calls.mu.Lock()
	defer a.calls.mu.Unlock()
	a.ended = true
	if a.left {
		a.calls.left[a.provider]--
	}
}

// leave is called when it is not waited for any more.
func (a *asked) leave() {
	c := a.calls
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.ended {
		return
	}
	a.left = true
	c.left[a.provider]++
	c.log.Warn("a provider's code does not return; the webhook is refused for now", "provider", a.provider,
		"left_behind", c.left[a.provider], "most", c.most)
}
