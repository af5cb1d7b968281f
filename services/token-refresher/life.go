package tokenrefresher

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// clock is what an upstream's answers say of its time.
type clock struct {
	// ahead is by how much this process's clock is ahead of the upstream's; valid if told.
	ahead time.Duration
	told  bool
}

type clockKey struct{}

// in returns a context in which the answers to requests set the clock.
func (c *clock) in(ctx context.Context) context.Context { return context.WithValue(ctx, clockKey{}, c) }

// dated notes the Date of answers.
type dated struct {
	next http.RoundTripper
	now  func() time.Time
}

func (d *dated) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if seen, ok := req.Context().Value(clockKey{}).(*clock); ok && err == nil {
		if theirs, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			seen.ahead, seen.told = d.now().Sub(theirs), true
		}
	}
	return resp, err
}

// sameClock is up to which difference two clocks count as the same: as much as it takes to read both.
const sameClock = time.Second

// onOurClock is a token that a provider has made, on the clock that all services go by. The provider counts from the
// time of this machine.
func (r *Refresher) onOurClock(token contracts.Token) contracts.Token {
	ahead := time.Until(r.Now())
	if token.ExpiresAt != nil && ahead.Abs() >= sameClock {
		ends := token.ExpiresAt.Add(ahead)
		token.ExpiresAt = &ends
	}
	return token
}

// skewed is the difference of two clocks from which on it is named. A Date has whole seconds, and an answer takes some.
const skewed = time.Minute

// String says how the clocks differ; nothing, when they do not.
func (c clock) String() string {
	switch {
	case !c.told || c.ahead.Abs() < skewed:
		return ""
	case c.ahead > 0:
		return fmt.Sprintf(": this machine's clock is %s ahead of the upstream's; set the clock", c.ahead.Round(time.Second))
	default:
		return fmt.Sprintf(": this machine's clock is %s behind the upstream's; set the clock", -c.ahead.Round(time.Second))
	}
}

// life is how long a new token lasts.
type life struct {
	// brief counts the tokens in a row that ended on arrival, or soon after.
	brief int32
	// notBefore is the earliest time of the next refresh.
	notBefore time.Time
	// reason is what is wrong with it; empty when nothing is.
	reason string
}

// lifeOf looks at the life of a new token. Tokens that last for less than the floor are not refreshed all the time: the floor doubles from
// one to the next.
func (r *Refresher) lifeOf(grant *postgres.Grant, token contracts.Token, seen clock) life {
	now := r.Now()
	if token.ExpiresAt == nil || token.ExpiresAt.Sub(now) >= r.Settings.Floor {
		return life{}
	}
	l := life{brief: grant.Brief + 1}
	l.notBefore = now.Add(min(r.Settings.Floor<<min(grant.Brief, 10), r.Settings.BackoffMost))
	lasts := token.ExpiresAt.Sub(now).Round(time.Second)
	switch {
	case lasts <= lastSecond:
		l.reason = fmt.Sprintf("the token that was granted had ended when it came, or will within a second (it ends at %s, and it is %s)%s",
			token.ExpiresAt.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), seen)
	case l.brief >= r.Settings.TroubleAfter:
		l.reason = fmt.Sprintf("the upstream grants tokens that last for %s only%s", lasts, seen)
	}
	return l
}

// due puts a refresh off to the floor.
func (l life) due(at *time.Time) *time.Time {
	if at != nil && at.Before(l.notBefore) {
		return &l.notBefore
	}
	return at
}
