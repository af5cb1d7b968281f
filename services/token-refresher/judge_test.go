package tokenrefresher_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// saying has the server answer a refresh, whose token it has rotated, with a body of which %[1]d is the number of the new tokens.
func (f *fixture) saying(body string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = fmt.Fprintf(w, body, f.server.number)
		return false
	}
}

// An answer that holds a token is stored, and its refresh token is not sent twice for how the answer looks.
func TestOddAnswersAreTokens(t *testing.T) {
	for name, body := range map[string]string{
		"a fraction of a second": `{"access_token":"access-%[1]d","refresh_token":"refresh-%[1]d","expires_in":3599.87}`,
		"a mark of byte order":   "\xef\xbb\xbf" + `{"access_token":"access-%[1]d","refresh_token":"refresh-%[1]d","expires_in":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			f.server.with(func() { f.server.after = f.saying(body) })
			id := f.create("one", "mail", f.soon())
			f.event(events.TokenRefreshed)
			if got := f.credentials(id); got["access_token"] != "access-2" || got["refresh_token"] != "refresh-2" {
				t.Errorf("the credentials are %v", got)
			}
			if n := f.server.count(&f.server.asked); n != 1 {
				t.Errorf("the upstream was asked %d times", n)
			}
		})
	}
}

// A token that can't be sent is refused, with the reason; the refresh token that came with it takes the place of the spent one.
func TestRefreshTokenOfABadAnswerIsKept(t *testing.T) {
	for name, tt := range map[string]struct{ body, reason string }{
		"of another type":    {`{"access_token":"access-%[1]d","refresh_token":"refresh-%[1]d","token_type":"mac"}`, `"mac"`},
		"with a line's end":  {`{"access_token":"access\r\nX: %[1]d","refresh_token":"refresh-%[1]d"}`, "at byte 6"},
		"no token but this":  {`{"refresh_token":"refresh-%[1]d"}`, "no access_token"},
		"beyond US-ASCII":    {`{"access_token":"accéss-%[1]d","refresh_token":"refresh-%[1]d"}`, "at byte 3"},
		"with a zero before": {`{"access_token":"\u0000%[1]d","refresh_token":"refresh-%[1]d"}`, "at byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			f.server.with(func() {
				f.server.after = func(w http.ResponseWriter, r *http.Request) bool {
					f.server.after = nil
					return f.saying(tt.body)(w, r)
				}
			})
			id := f.create("one", "mail", f.soon())
			if told := f.event(events.TokenRefreshFailed); !strings.Contains(told["reason"].(string), tt.reason) || told["uncertain"] != nil {
				t.Errorf("the event is %v, want %s in it", told, tt.reason)
			}
			f.event(events.TokenRefreshed)
			if got := f.credentials(id); got["access_token"] != "access-3" || got["refresh_token"] != "refresh-3" {
				t.Errorf("the credentials are %v", got)
			}
			if n := f.server.count(&f.server.reuses); n != 0 {
				t.Errorf("a spent refresh token was sent %d times", n)
			}
		})
	}
}

// A refusal that says nothing of the grant ends it within a bound, once there is no token to go on with.
func TestRefusedForLong(t *testing.T) {
	refusing := func(status int, body string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return false
		}
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		alive  bool
		bound  time.Duration
		ends   bool
	}{
		"forbidden":                         {status: 403, body: "no", ends: true},
		"in a form of its own":              {status: 400, body: `{"problem":"stale"}`, ends: true},
		"within its bound":                  {status: 403, body: "no", bound: time.Hour},
		"while the token can still be used": {status: 403, body: "no", alive: true},
		"for the application's sake":        {status: 401, body: `{"error":"invalid_client"}`},
		"as it fails":                       {status: 502},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(c *platform.Config) {
				c.TokenRefresher.RefusedFor, c.TokenRefresher.BackoffMost = tt.bound, 50*time.Millisecond
			})
			f.server.with(func() { f.server.answer = refusing(tt.status, tt.body) })
			token := f.server.plant("a")
			expires := time.Now()
			if tt.alive {
				// Due at once, and good for the whole test.
				expires = time.Now().Add(time.Hour)
			}
			token.ExpiresAt = &expires
			id := f.create("one", "mail", &token)
			if tt.alive {
				f.awaitState(id, "connected")
				if _, err := f.pool.Exec(t.Context(), `update oauth_grants set due_at = now()`); err != nil {
					t.Fatal(err)
				}
			}
			if !tt.ends {
				f.await("refreshes that fail", func() bool { return f.grant(id).Failures > 6 })
				if got := f.grant(id); got.State != "connected" && got.State != "uncertain" {
					t.Errorf("the grant is %s: %s", got.State, got.Reason)
				}
				return
			}
			f.awaitState(id, "reauth-required")
			if told := f.event(events.IncidentOpened); told["severity"] != "failing" {
				t.Errorf("the incident is %v", told)
			}
			if got := f.grant(id); !strings.Contains(got.Reason, "has refused to refresh") {
				t.Errorf("the reason is %q", got.Reason)
			}
		})
	}
}

// The upstream asks for patience until a date: the refresher waits until then, and does not ask again.
func TestPatienceUntilADate(t *testing.T) {
	f := start(t, nil)
	until := time.Now().Add(10 * time.Minute)
	f.server.with(func() {
		f.server.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", until.UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusTooManyRequests)
			return false
		}
	})
	id := f.create("one", "mail", f.soon())
	f.await("the refresh that fails", func() bool { return f.grant(id).Failures == 1 })
	got := f.grant(id)
	if got.State != "connected" || got.DueAt == nil || got.DueAt.Before(until.Add(-5*time.Second)) || got.DueAt.After(until.Add(2*time.Minute)) {
		t.Errorf("the grant is %s and due at %v, want %s", got.State, got.DueAt, until)
	}
	if n := f.server.count(&f.server.asked); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// An answer that never comes is waited for once more, and not on and on.
func TestLostTwice(t *testing.T) {
	f := start(t, nil)
	f.server.with(func() {
		f.server.answer = func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
	})
	id := f.create("one", "mail", f.soon())
	f.awaitState(id, "reauth-required")
	if told := f.event(events.ReauthRequired); told["lost"] != true {
		t.Errorf("the event is %v, want it lost", told)
	}
	if n := f.server.count(&f.server.asked); n != 2 {
		t.Errorf("the refresh token was sent %d times, want once more than once", n)
	}
}

// A refresh token that two processes have died with is not sent by a third one.
func TestRefreshTokenThatProcessesDiedWith(t *testing.T) {
	f := start(t, nil)
	token := f.server.plant("a")
	expires := time.Now().Add(time.Hour)
	token.ExpiresAt = &expires
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	if _, err := f.pool.Exec(t.Context(), `update oauth_grants set lost = 2, due_at = now()`); err != nil {
		t.Fatal(err)
	}
	f.awaitState(id, "reauth-required")
	if n := f.server.count(&f.server.asked); n != 0 {
		t.Errorf("the refresh token was sent %d times", n)
	}
}

// Tokens that have ended when they come are not fetched on and on; whoever asks for one does not change that.
func TestTokensThatEndOnArrival(t *testing.T) {
	const floor = 100 * time.Millisecond
	f := start(t, func(c *platform.Config) { c.TokenRefresher.Floor = floor })
	f.server.with(func() { f.server.life = -time.Second })
	id := f.create("one", "mail", f.soon())
	if told := f.event(events.IncidentOpened); !strings.Contains(told["reason"].(string), "had ended when it came") {
		t.Errorf("the incident is %v", told)
	}
	f.await("some tokens", func() bool { return f.grant(id).Brief >= 4 })
	grant := f.grant(id)
	if got, want := grant.DueAt.Sub(*grant.ObtainedAt), floor<<(grant.Brief-1); got < want {
		t.Errorf("after %d tokens the next one is got after %s, want %s", grant.Brief, got, want)
	}
	before := f.server.count(&f.server.asked)
	status, err := f.RefreshToken(t.Context(), api.RefreshToken{Provider: "mail", Integration: id.String(), Have: grant.TokenID})
	if err != nil || status.Usable || status.RetryAfterMS == 0 {
		t.Errorf("who asks is told %+v, %v", status, err)
	}
	if after := f.server.count(&f.server.asked); after != before && f.grant(id).Brief == grant.Brief {
		t.Errorf("the demand cost a request")
	}
	f.server.with(func() { f.server.life = time.Hour })
	f.event(events.IncidentClosed)
	if got := f.grant(id); got.Brief != 0 || got.Reason != "" {
		t.Errorf("the grant has %d brief tokens, reason %q", got.Brief, got.Reason)
	}
}

// absolute is a provider that takes an upstream's word for when a token ends.
type absolute struct{ mail }

// clockAhead is by how much this machine's clock is ahead of the upstream's.
const clockAhead = 2 * time.Hour

func (absolute) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.Name(), nil)
	if err != nil {
		return contracts.Token{}, err
	}
	resp, err := in.HTTP().Do(req)
	if err != nil {
		return contracts.Token{}, err
	}
	ends := time.Now().Add(time.Hour - clockAhead)
	return contracts.Token{AccessToken: "a", RefreshToken: "b", ExpiresAt: &ends}, resp.Body.Close()
}

// A clock that is hours off is named.
func TestSkewIsNamed(t *testing.T) {
	f := start(t, func(c *platform.Config) {
		c.Providers["absolute"] = absolute{c.Providers["mail"].(mail)}
		c.TokenRefresher.Floor = time.Hour
	})
	f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-clockAhead).UTC().Format(http.TimeFormat))
	})
	f.create(f.server.URL, "absolute", f.soon())
	told := f.event(events.IncidentOpened)
	if reason := told["reason"].(string); !strings.Contains(reason, "clock is 2h0m") || !strings.Contains(reason, "ahead of the upstream's") {
		t.Errorf("the incident is %v", told)
	}
}

// A machine whose clock is off by hours has its tokens end when they do by the clock that all services go by.
func TestTokensOfAMachineWithAnotherClock(t *testing.T) {
	const skew = 3 * time.Hour
	for name, ahead := range map[string]time.Duration{"behind": skew, "ahead": -skew} {
		t.Run(name, func(t *testing.T) {
			now := func() time.Time { return time.Now().Add(ahead) }
			f := start(t, func(c *platform.Config) { c.Now = now })
			token := f.server.plant("a")
			soon := now().Add(time.Second)
			token.ExpiresAt = &soon
			refreshed := f.create("refreshed", "mail", &token)
			f.await("a refresh", func() bool { return f.outcomes("refreshed") == 1 })
			connected := f.create("connected", "mail", nil)
			f.await("the integration to be held", func() bool { return f.status(connected) == "reauth-required" })
			flow := f.begin(connected)
			if status, page := open(t, flow.browser, flow.callback.String()); status != http.StatusOK {
				t.Fatalf("the callback answers %d: %s", status, page)
			}
			for what, id := range map[string]uuid.UUID{"refreshed": refreshed, "connected": connected} {
				grant := f.grant(id)
				if grant.ExpiresAt == nil || grant.Brief != 0 {
					t.Fatalf("the %s grant is %+v", what, grant)
				}
				// The upstream's tokens last an hour.
				if lasts := grant.ExpiresAt.Sub(now()); lasts < 30*time.Minute || lasts > time.Hour {
					t.Errorf("the %s token lasts for %s", what, lasts)
				}
			}
		})
	}
}

func TestConnectWithoutOAuth(t *testing.T) {
	f := start(t, func(c *platform.Config) { c.Providers["plain"] = plain{} })
	id := f.create("one", "plain", nil)
	_, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: id.String()})
	if api.CodeOf(err) != api.Invalid || !strings.Contains(err.Error(), `provider "plain" has no OAuth`) {
		t.Errorf("the error is %v", err)
	}
	_, err = f.RevokeToken(t.Context(), api.RevokeToken{Integration: id.String()})
	if api.CodeOf(err) != api.Invalid || !strings.Contains(err.Error(), "has no OAuth") {
		t.Errorf("the error is %v", err)
	}
}

// plain is a provider with a key.
type plain struct {
	contracts.NoMetadata
	contracts.NoCredentials
}

func (plain) Name() string { return "Plain" }

// A server that always names itself has not sent an answer that names no server.
func TestMissingIssuer(t *testing.T) {
	f := start(t, func(c *platform.Config) {
		strict := c.Providers["mail"].(mail)
		strict.SendsIssuer = true
		c.Providers["mail"] = strict
	})
	id := f.create("one", "mail", nil)
	flow := f.begin(id)
	if status, page := open(t, flow.browser, flow.with("iss", "")); status != http.StatusBadRequest || !strings.Contains(page, "no_issuer") {
		t.Errorf("the callback answers %d: %s", status, page)
	}
	if f.credentials(id)["access_token"] != nil {
		t.Error("the code was exchanged")
	}
}
