package tokenrefresher_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// queue is a provider whose upstream answers when the test lets it.
type queue struct {
	crowd
	entered *atomic.Int64
	answer  chan struct{}
}

func newQueue() queue { return queue{crowd{gauge: &gauge{}}, &atomic.Int64{}, make(chan struct{})} }

func (q queue) RefreshToken(_ context.Context, in *contracts.Integration) (contracts.Token, error) {
	q.entered.Add(1)
	<-q.answer
	expires := time.Now().Add(time.Hour)
	return contracts.Token{AccessToken: "new", RefreshToken: in.ID(), ExpiresAt: &expires}, nil
}

func (q queue) awaitEntered(f *fixture, n int64) {
	f.t.Helper()
	f.await(fmt.Sprintf("%d calls of RefreshToken", n), func() bool { return q.entered.Load() == n })
}

// fill makes grants of the provider that are due.
func (f *fixture) fill(provider string, n int) {
	f.t.Helper()
	expired := time.Now().Add(-time.Second)
	for i := range n {
		name := fmt.Sprintf("%s-%d-%d", provider, f.many.Add(1), i)
		f.create(name, provider, &contracts.Token{AccessToken: "old", RefreshToken: name, ExpiresAt: &expired})
	}
}

// A provider whose token endpoint hangs leaves room for the others, also where their tokens are asked for.
func TestProvidersShareTheRefreshers(t *testing.T) {
	hangs := newQueue()
	f := start(t, func(c *platform.Config) {
		c.Providers["queue"] = hangs
		c.TokenRefresher.Concurrency, c.TokenRefresher.Call = 4, time.Hour
	})
	defer close(hangs.answer)
	f.fill("queue", 100)
	hangs.awaitEntered(f, 2) // its share
	f.create("due", "mail", f.soon())
	f.await("the other provider's token", func() bool { return f.outcomes("refreshed") == 1 })
	token := f.server.plant("b")
	asked := f.create("asked", "mail", &token)
	f.awaitState(asked, "connected")
	demand := api.RefreshToken{Provider: "mail", Integration: asked.String(), Have: f.grant(asked).TokenID, Refused: true}
	f.await("the token not to be new any more", func() bool {
		status, err := f.RefreshToken(t.Context(), demand)
		return err == nil && status.Usable && f.outcomes("refreshed") == 2
	})
	if n := hangs.entered.Load(); n != 2 {
		t.Errorf("the provider that hangs has %d of 4 slots", n)
	}
}

// Of the grants whose holder died, those of a provider are worked on one at a time: what has ended one process may end
// the next, which must not cost the others their second try.
func TestSuspectsAreTakenOneByOne(t *testing.T) {
	answers := newQueue()
	f := start(t, func(c *platform.Config) {
		c.Providers["queue"] = answers
		c.TokenRefresher.Concurrency, c.TokenRefresher.Renew, c.TokenRefresher.Lease = 40, time.Hour, 2*time.Hour
		c.TokenRefresher.Call = time.Hour
	})
	const many = 6
	f.fill("queue", many)
	answers.awaitEntered(f, many)
	// As if the process that took them were another, and had died.
	sql(t, f.pool, "update oauth_grants set leased_until = now(), due_at = now()")
	answers.awaitEntered(f, many+1)
	f.fill("queue", 1)
	answers.awaitEntered(f, many+2)
	var suspects int
	if err := f.pool.QueryRow(t.Context(), "select count(*) from oauth_grants where lost > 0").Scan(&suspects); err != nil {
		t.Fatal(err)
	}
	if suspects != 1 {
		t.Errorf("%d grants whose holder died are worked on at a time", suspects)
	}
	close(answers.answer)
	f.await("all to be refreshed", func() bool {
		var left int
		if err := f.pool.QueryRow(t.Context(), "select count(*) from oauth_grants where leased_until is not null or state <> 'connected'").Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
}

// A demand that refreshes do not settle costs a few of them, and is answered.
func TestDemandThatNothingSettles(t *testing.T) {
	f := start(t, nil)
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	// The grant is not that of the credentials, though it has their version.
	sql(t, f.pool, "update oauth_grants set token_id = 'another', due_at = null, expires_at = now() - interval '1 hour'")
	status, err := f.RefreshToken(t.Context(), api.RefreshToken{Provider: "mail", Integration: id.String(), Have: "another"})
	if err != nil || status.Usable || status.RetryAfterMS != 1000 {
		t.Errorf("the answer is %+v, %v", status, err)
	}
	if n := f.outcomes("superseded"); n != 3 {
		t.Errorf("it cost %d refreshes, want 3", n)
	}
}
