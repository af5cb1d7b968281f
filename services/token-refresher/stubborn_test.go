package tokenrefresher_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
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

// startled is a provider that panics when it is asked for its threshold, once it is on.
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
	f.await("the failure to be listed", func() bool {
		page, err := f.SetAside(t.Context(), api.ListSetAside{All: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.SetAside {
			if one.Kind == "adopt-token" && one.IntegrationID == bad.String() && one.Tries > 0 {
				return true
			}
		}
		return false
	})
	f.awaitState(f.create("good", "mail", f.soon()), "connected")
}
