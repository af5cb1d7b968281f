package tokenrefresher_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// soon is a token that is due to be refreshed.
func (f *fixture) soon() *contracts.Token {
	token := f.server.plant("a")
	expires := time.Now().Add(time.Second)
	token.ExpiresAt = &expires
	return &token
}

func TestRefreshAhead(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", f.soon())
	f.await("a refresh", func() bool { return f.credentials(id)["access_token"] != "access-1" })
	got := f.credentials(id)
	if got["client_id"] != "mail" || got["refresh_token"] == "refresh-1" {
		t.Errorf("the credentials are %v: the rest of them must stay, and the refresh token be the new one", got)
	}
	told := f.event(events.TokenRefreshed)
	if strings.Contains(told["expires_at"].(string), "access") {
		t.Errorf("the event is %v", told)
	}
	if f.server.count(&f.server.reuses) != 0 {
		t.Error("a refresh token was sent twice")
	}
}

func TestEverybodyGetsTheSameToken(t *testing.T) {
	f := start(t, func(c *platform.Config) { c.TokenRefresher.Tick = time.Hour })
	expired, token := time.Now().Add(-time.Second), f.server.plant("a")
	token.ExpiresAt = &expired
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	have := f.grant(id).TokenID
	var group errgroup.Group
	for range 20 {
		group.Go(func() error {
			status, err := f.RefreshToken(t.Context(), api.RefreshToken{Provider: "mail", Integration: id.String(), Have: have})
			if err == nil && !status.Usable {
				return errors.New("not usable: " + status.State + status.Reason)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := f.server.count(&f.server.asked); n != 1 {
		t.Errorf("the upstream was asked %d times, want once", n)
	}
}

// A grant that the upstream has ended stops the integration; nothing is tried again by itself.
func TestEndedGrant(t *testing.T) {
	f := start(t, nil)
	dead := f.soon()
	dead.RefreshToken = "never-issued"
	id := f.create("one", "mail", dead)
	f.awaitState(id, "reauth-required")
	if got := f.status(id); got != "reauth-required" {
		t.Errorf("the integration is %s", got)
	}
	if told := f.event(events.ReauthRequired); told["lost"] != nil {
		t.Errorf("the event says lost: %v", told)
	}
	status, err := f.RefreshToken(t.Context(), api.RefreshToken{Provider: "mail", Integration: id.String(), Have: f.grant(id).TokenID})
	if err != nil || status.Usable || status.State != "reauth-required" {
		t.Errorf("who asks is told %+v, %v", status, err)
	}
}

// Who has never been connected is held, and does not cost a request.
func TestNeverConnected(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", nil)
	f.awaitState(id, "missing")
	f.await("the integration to be held", func() bool { return f.status(id) == "reauth-required" })
	if n := f.server.count(&f.server.asked); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// What is no refusal costs no grant: it is tried again, later and later.
func TestUpstreamFails(t *testing.T) {
	tests := map[string]struct {
		answer    func(w http.ResponseWriter, r *http.Request) bool
		uncertain bool
	}{
		"wrong client": {func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, http.StatusUnauthorized, "invalid_client")
			return false
		}, false},
		"broken": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return false
		}, true},
		"cut": {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, true},
		"busy": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return false
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			f.server.with(func() {
				f.server.answer = func(w http.ResponseWriter, r *http.Request) bool {
					f.server.answer = nil
					return tt.answer(w, r)
				}
			})
			id := f.create("one", "mail", f.soon())
			told := f.event(events.TokenRefreshFailed)
			if (told["uncertain"] == true) != tt.uncertain {
				t.Errorf("the event is %v, want uncertain %t", told, tt.uncertain)
			}
			f.await("a refresh", func() bool { return f.credentials(id)["access_token"] != "access-1" })
			if got := f.grant(id); got.State != "connected" || got.Failures != 0 {
				t.Errorf("the grant is %s with %d failures", got.State, got.Failures)
			}
			if f.server.count(&f.server.reuses) != 0 {
				t.Error("a refresh token was sent twice")
			}
		})
	}
}

// What waits for a token is woken by a refresh that succeeds after one that failed.
func TestNewTokenEndsWaits(t *testing.T) {
	f := start(t, nil)
	f.server.with(func() {
		f.server.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, http.StatusUnauthorized, "invalid_client")
			return false
		}
	})
	id := f.create("one", "mail", f.soon())
	f.event(events.TokenRefreshFailed)
	woken := f.waiting(id)
	f.server.with(func() { f.server.answer = nil })
	f.await("what waits for the token to be woken", woken)
}

// The upstream rotates, and its answer is lost: that is told apart, tried once more, and the grant marked as lost.
func TestLostAnswer(t *testing.T) {
	f := start(t, nil)
	f.server.with(func() {
		f.server.after = func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
	})
	id := f.create("one", "mail", f.soon())
	if told := f.event(events.TokenRefreshFailed); told["uncertain"] != true {
		t.Errorf("the event is %v", told)
	}
	f.awaitState(id, "reauth-required")
	if told := f.event(events.ReauthRequired); told["lost"] != true {
		t.Errorf("the event is %v, want it lost", told)
	}
	if n := f.server.count(&f.server.asked); n != 2 {
		t.Errorf("the upstream was asked %d times, want one more than once", n)
	}
}

func TestWithoutRefreshToken(t *testing.T) {
	f := start(t, nil)
	lasting := f.create("lasting", "mail", &contracts.Token{AccessToken: "for-ever"})
	expires := time.Now().Add(500 * time.Millisecond)
	ending := f.create("ending", "mail", &contracts.Token{AccessToken: "not-long", ExpiresAt: &expires})
	f.awaitState(ending, "reauth-required")
	if got := f.grant(lasting); got.State != "connected" || got.DueAt != nil {
		t.Errorf("the grant without an end is %+v", got)
	}
	if n := f.server.count(&f.server.asked); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	// A refusal of it is the upstream's answer, and no reason to ask anybody.
	status, err := f.RefreshToken(t.Context(), api.RefreshToken{Provider: "mail", Integration: lasting.String(), Have: f.grant(lasting).TokenID, Refused: true})
	if err != nil || !status.Usable || status.State != "connected" {
		t.Errorf("who asks is told %+v, %v", status, err)
	}
}

func TestClientCredentials(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "robot", nil)
	f.await("the first token", func() bool { return f.credentials(id)["access_token"] != nil })
	if got := f.status(id); got != "active" {
		t.Errorf("the integration is %s", got)
	}
}

// A request with a token that the upstream refuses is sent again with another one; a body comes along.
func TestRefusedTokenIsReplaced(t *testing.T) {
	f := start(t, func(c *platform.Config) { c.TokenRefresher.Young = 0 })
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	f.server.with(func() { delete(f.server.access, token.AccessToken) })
	in, err := f.built.Integrations.Current(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for range 20 {
		group.Go(func() error {
			resp, err := in.HTTP().Post(f.server.URL+"/api", "text/plain", strings.NewReader("body"))
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return errors.New(resp.Status)
			}
			return resp.Body.Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if n := f.server.count(&f.server.asked); n != 1 {
		t.Errorf("the upstream was asked for %d tokens, want one", n)
	}
}

// A request waits for a refresh that is needed, and is deferred when no token is to be had.
func TestRequestsDefer(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", nil)
	f.awaitState(id, "missing")
	in, err := f.built.Integrations.Current(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.HTTP().Get(f.server.URL + "/api")
	if _, deferred := contracts.AsDeferral(err); !deferred {
		t.Errorf("the error is %v, want a deferral", err)
	}
}
