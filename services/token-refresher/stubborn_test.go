package tokenrefresher_test

import (
	"context"
	"errors"
	"testing"
	"time"

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
		c.TokenRefresher.Concurrency, c.TokenRefresher.Call = 1, 2*time.Second
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
