package tokenrefresher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// A holder that was asleep for so long that another took over writes nothing any more, though it comes with a token.
func TestLateHolderIsRefused(t *testing.T) {
	// One that sleeps does not renew its lease either.
	f := start(t, func(c *platform.Config) { c.TokenRefresher.Renew = time.Hour })
	asleep, awake := make(chan struct{}), make(chan struct{})
	f.server.with(func() {
		f.server.after = func(http.ResponseWriter, *http.Request) bool {
			f.server.after = nil
			f.server.mu.Unlock()
			close(asleep)
			<-awake
			f.server.mu.Lock()
			return true
		}
	})
	id := f.create("one", "mail", f.soon())
	<-asleep
	sql(t, f.pool, "update oauth_grants set leased_until = now(), due_at = now()")
	// The other one finds the intent, tries once more, and marks the grant.
	f.awaitState(id, "reauth-required")
	if told := f.event(events.ReauthRequired); told["lost"] != true {
		t.Errorf("the event is %v", told)
	}
	fenced := f.outcomes("fenced") // of holders whose leases ended while they refreshed
	close(awake)
	f.await("the late one to be told", func() bool { return f.outcomes("fenced") > fenced })
	if got := f.grant(id); got.State != "reauth-required" {
		t.Errorf("the grant is %s: the late holder has written", got.State)
	}
	if got := f.credentials(id)["access_token"]; got != "access-1" {
		t.Errorf("the access token is %v: the late holder has written", got)
	}
}

// A call that takes longer than a lease keeps it, for its holder renews it; nobody else sends the refresh token meanwhile.
func TestLeaseIsRenewed(t *testing.T) {
	const lease = 6 * time.Second
	f := start(t, func(c *platform.Config) {
		c.TokenRefresher.Lease, c.TokenRefresher.Renew = lease, 20*time.Millisecond
	})
	asked, answer := make(chan struct{}), make(chan struct{})
	f.server.with(func() {
		f.server.after = func(http.ResponseWriter, *http.Request) bool {
			f.server.after = nil
			f.server.mu.Unlock()
			close(asked)
			<-answer
			f.server.mu.Lock()
			return true
		}
	})
	id := f.create("one", "mail", f.soon())
	<-asked
	first := f.grant(id).LeasedUntil
	f.await("the lease to outlast its first length", func() bool {
		now := f.grant(id).LeasedUntil
		return first != nil && now != nil && now.Sub(*first) > lease
	})
	close(answer)
	f.await("the token to be stored", func() bool { return f.grant(id).State == "connected" && f.grant(id).LeasedUntil == nil })
	f.server.with(func() {
		if f.server.reuses != 0 || f.server.asked != 1 {
			t.Errorf("the upstream was asked %d times, %d of them with a spent token", f.server.asked, f.server.reuses)
		}
	})
}

// Tokens that somebody writes by hand while the old ones are being refreshed are the ones that count.
func TestHandWrittenTokensWin(t *testing.T) {
	f := start(t, nil)
	asleep, awake := make(chan struct{}), make(chan struct{})
	f.server.with(func() {
		f.server.after = func(http.ResponseWriter, *http.Request) bool {
			f.server.after = nil
			f.server.mu.Unlock()
			close(asleep)
			<-awake
			f.server.mu.Lock()
			return true
		}
	})
	id := f.create("one", "mail", f.soon())
	<-asleep
	theirs := f.server.plant("b")
	credentials, err := json.Marshal(map[string]any{"client_id": "mail", "client_secret": "secret", "access_token": theirs.AccessToken, "refresh_token": theirs.RefreshToken, "token_expires_at": theirs.ExpiresAt})
	if err != nil {
		t.Fatal(err)
	}
	err = f.store.InTx(t.Context(), func(tx *postgres.Tx) error {
		_, err := f.store.PutCredentials(t.Context(), tx, id, credentials, 1, postgres.Access{Who: "ann", Why: "paste", At: time.Now()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	close(awake)
	f.await("the refresh to be told", func() bool { return f.outcomes("fenced") == 1 })
	if got := f.credentials(id)["access_token"]; got != theirs.AccessToken {
		t.Errorf("the access token is %v, want the one that was written by hand", got)
	}
	f.await("it to be adopted", func() bool {
		g := f.grant(id)
		return g.State == "connected" && g.CredentialsVersion == g.CredentialsNow
	})
}

// outcomes is how many refreshes came to something.
func (f *fixture) outcomes(outcome string) int {
	f.t.Helper()
	families, err := f.metrics.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	total := 0
	for _, family := range families {
		if family.GetName() != "tributary_token_refresher_refresh_duration_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "outcome" && label.GetValue() == outcome {
					total += int(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return total
}

// crowd is a provider whose upstream is a counter.
type crowd struct {
	contracts.NoMetadata
	contracts.NoCredentials
	contracts.OAuth2Defaults
	*gauge
}

type gauge struct{ now, most, calls atomic.Int64 }

func (crowd) Name() string { return "Crowd" }
func (crowd) AuthorizationURL(context.Context, *contracts.Integration, string, string) (string, error) {
	return "", nil
}

func (crowd) ExchangeCode(context.Context, *contracts.Integration, string, string) (contracts.Token, error) {
	return contracts.Token{}, nil
}
func (crowd) RevokeToken(context.Context, *contracts.Integration) error { return nil }

func (c crowd) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	now := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
	expires := time.Now().Add(time.Hour)
	return contracts.Token{AccessToken: fmt.Sprint(c.calls.Add(1)), RefreshToken: in.ID(), ExpiresAt: &expires}, ctx.Err()
}

// Tokens that end together are refreshed a few at a time, each once, and do not end together again.
func TestNoHerd(t *testing.T) {
	counter := &gauge{}
	f := start(t, func(c *platform.Config) {
		c.Providers["crowd"] = crowd{gauge: counter}
		c.TokenRefresher.Concurrency = 8
	})
	const many = 300
	expired := time.Now().Add(-time.Second)
	ids := make([]uuid.UUID, many)
	for i := range ids {
		ids[i] = f.create(fmt.Sprintf("crowd-%d", i), "crowd", &contracts.Token{AccessToken: "old", RefreshToken: fmt.Sprint(i), ExpiresAt: &expired})
	}
	f.await("every token to be refreshed", func() bool { return f.outcomes("refreshed") == many })
	if counter.calls.Load() != many || counter.most.Load() > 4 {
		t.Errorf("%d calls for %d tokens, up to %d at a time; want one for each, and half of 8", counter.calls.Load(), many, counter.most.Load())
	}
	first, last := time.Now().Add(24*time.Hour), time.Time{}
	for _, id := range ids {
		due := *f.grant(id).DueAt
		if due.Before(first) {
			first = due
		}
		if due.After(last) {
			last = due
		}
	}
	if spread := last.Sub(first); spread < 2*time.Minute {
		t.Errorf("they are due within %s of one another, want them spread", spread)
	}
}

// While one grant's row is locked, the leases of the other grants are renewed.
func TestRenewalPassesOverWhatIsLocked(t *testing.T) {
	f := start(t, nil)
	token, other := f.server.plant("a"), f.server.plant("b")
	locked, free := f.create("one", "mail", &token), f.create("two", "mail", &other)
	f.awaitState(locked, "connected")
	f.awaitState(free, "connected")
	long := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	if _, err := f.pool.Exec(t.Context(), "update oauth_grants set leased_until = $1, due_at = $1, fence = 7", long); err != nil {
		t.Fatal(err)
	}
	tx, err := f.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), "select 1 from oauth_grants where integration_id = $1 for update", locked); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := f.store.GrantRenew(ctx, dbsqlc.GrantRenewParams{Ids: []uuid.UUID{locked, free}, Fences: []int64{7, 7}, Until: long.Add(time.Hour)})
	if err != nil || n != 1 {
		t.Fatalf("renewed %d, %v; want the one that is not locked", n, err)
	}
	if got := f.grant(free).LeasedUntil; got == nil || !got.Equal(long.Add(time.Hour)) {
		t.Errorf("the lease ends at %v", got)
	}
}
