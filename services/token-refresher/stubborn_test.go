package tokenrefresher_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// stubborn is a provider that does not return before the test ends, whatever its context says.
type stubborn struct {
	crowd
	awake chan struct{}
}

func (s stubborn) RefreshToken(context.Context, *contracts.Integration) (contracts.Token, error) {
	<-s.awake
	return contracts.Token{}, errors.New("awake")
}

// A provider that does not return is left behind: others' tokens are refreshed in its place.
func TestProviderThatDoesNotReturn(t *testing.T) {
	awake := make(chan struct{})
	defer close(awake)
	f := start(t, func(c *platform.Config) {
		c.Providers["stubborn"] = stubborn{crowd: crowd{gauge: &gauge{}}, awake: awake}
		c.TokenRefresher.Concurrency, c.TokenRefresher.Call = 1, 5*time.Second
	})
	expired := time.Now().Add(-time.Second)
	stuck := f.create("stuck", "stubborn", &contracts.Token{AccessToken: "old", RefreshToken: "r", ExpiresAt: &expired})
	f.await("a refresh without an answer", func() bool { return f.outcomes("uncertain") > 0 })
	f.create("one", "mail", f.soon())
	f.await("the other token", func() bool { return f.outcomes("refreshed") == 1 })
	if reason := f.grant(stuck).Reason; reason == "" {
		t.Error("nobody says that RefreshToken did not return")
	}
}

// startled is a provider that panics when it is asked for its threshold after its process has started.
type startled struct {
	mail
	on *atomic.Bool
}

func (s startled) RefreshThreshold() time.Duration {
	if s.on.Load() {
		panic("boo")
	}
	return time.Minute
}

// A token that was fetched is stored, whatever its provider says of thresholds.
func TestThresholdThatPanics(t *testing.T) {
	on := &atomic.Bool{}
	f := start(t, func(c *platform.Config) { c.Providers["startled"] = startled{c.Providers["mail"].(mail), on} })
	on.Store(true)
	id := f.create("one", "startled", f.soon())
	f.await("a refresh", func() bool { return f.outcomes("refreshed") == 1 })
	if got := f.credentials(id)["access_token"]; got != "access-2" {
		t.Errorf("the token is %v", got)
	}
}

// Credentials that can't be opened are set aside, with all that says, and hold up no others.
func TestCredentialsThatCannotBeAdopted(t *testing.T) {
	f := start(t, nil)
	bad := f.create("bad", "mail", f.soon())
	f.awaitState(bad, "connected")
	if _, err := f.pool.Exec(t.Context(), "update credentials set sealed = 'garbage', version = version + 1 where integration_id = $1", bad); err != nil {
		t.Fatal(err)
	}
	f.awaitUnadopted(bad, "")
	f.awaitState(f.create("good", "mail", f.soon()), "connected")
}

// awaitUnadopted waits until it has failed to adopt an integration's tokens, with an error that says so.
func (f *fixture) awaitUnadopted(id uuid.UUID, why string) {
	f.t.Helper()
	f.await("the failure to be listed", func() bool {
		page, err := f.SetAside(f.t.Context(), api.ListSetAside{All: true})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, one := range page.SetAside {
			if one.Kind == "adopt-token" && one.IntegrationID == id.String() && strings.Contains(one.Error, why) {
				return true
			}
		}
		return false
	})
}

// A locked integration delays its own tokens alone.
func TestLockedIntegrationIsAdoptedLater(t *testing.T) {
	f := start(t, func(c *platform.Config) { c.TokenRefresher.LockWait = 100 * time.Millisecond })
	held := f.create("held", "mail", f.soon())
	f.awaitState(held, "connected")
	tx, err := f.pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "select 1 from integrations where id = $1 for no key update", held)
	}
	if err == nil {
		_, err = f.pool.Exec(t.Context(), "update oauth_grants set credentials_version = 0 where integration_id = $1", held)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.awaitUnadopted(held, "another transaction holds a lock")
	f.awaitState(f.create("free", "mail", f.soon()), "connected")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.await("the tokens to be adopted", func() bool { return f.grant(held).CredentialsVersion > 0 })
}

// halting is a provider of which one method does not return before the test ends.
type halting struct {
	mail
	method string
	awake  chan struct{}
}

func (h halting) at(method string) {
	if h.method == method {
		<-h.awake
	}
}

func (h halting) AuthorizationURL(ctx context.Context, in *contracts.Integration, redirectURI, state string) (string, error) {
	h.at("AuthorizationURL")
	return h.mail.AuthorizationURL(ctx, in, redirectURI, state)
}

func (h halting) ExchangeCode(ctx context.Context, in *contracts.Integration, code, redirectURI string) (contracts.Token, error) {
	h.at("ExchangeCode")
	return h.mail.ExchangeCode(ctx, in, code, redirectURI)
}

func (h halting) OAuth2Issuer(in *contracts.Integration) (string, error) {
	h.at("OAuth2Issuer")
	return h.mail.OAuth2Issuer(in)
}

func (h halting) RequiresOAuth2Issuer(in *contracts.Integration) (bool, error) {
	h.at("RequiresOAuth2Issuer")
	return h.mail.RequiresOAuth2Issuer(in)
}

// A user whose provider does not return is told so, and an event says which method it was.
func TestAuthorizationThatDoesNotReturn(t *testing.T) {
	for _, method := range []string{"AuthorizationURL", "ExchangeCode", "OAuth2Issuer", "RequiresOAuth2Issuer"} {
		t.Run(method, func(t *testing.T) {
			awake := make(chan struct{})
			defer close(awake)
			f := start(t, func(c *platform.Config) {
				c.Providers["halting"] = halting{c.Providers["mail"].(mail), method, awake}
				c.TokenRefresher.Call = 3 * time.Second
			})
			id := f.create("one", "halting", nil)
			if method == "AuthorizationURL" {
				link, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: id.String(), By: "ann"})
				if err != nil {
					t.Fatal(err)
				}
				if status, page := open(t, browser(t), link.URL); status != http.StatusServiceUnavailable {
					t.Errorf("the link answers %d: %s", status, page)
				}
				return
			}
			flow := f.begin(id)
			if status, page := open(t, flow.browser, flow.callback.String()); status != http.StatusBadRequest || !strings.Contains(page, "did not return in time") {
				t.Errorf("the callback answers %d: %s", status, page)
			}
			if told := f.event(events.OAuthConnectFailed); !strings.HasPrefix(fmt.Sprint(told["description"]), method+" did not return in time") {
				t.Errorf("the event is %v", told)
			}
		})
	}
}
