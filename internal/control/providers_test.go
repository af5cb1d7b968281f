package control

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// unnamed does not say what it is.
type unnamed struct {
	contracts.NoCredentials
	contracts.NoMetadata
	hang func()
}

func (u unnamed) Name() string { u.hang(); return "Unnamed" }

// A provider's code that does not return is left behind, where the API calls it.
func TestHangingProviders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func() { <-time.After(time.Hour) }
		if _, err := describe("p", unnamed{hang: hang}); !errors.Is(err, panics.ErrLeftBehind) {
			t.Errorf("Name: %v", err)
		}
		hang() // until those that were left behind have ended
	})
}
