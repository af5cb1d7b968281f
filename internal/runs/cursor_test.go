package runs

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// hanging makes no cursor of a time for an hour.
type hanging struct{}

func (hanging) CursorAt(time.Time) (contracts.Cursor, error) {
	<-time.After(time.Hour)
	return nil, errors.New("no cursor of a time")
}

// A provider's code that does not return is left behind, where a command calls it.
func TestHangingProviders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, err := cursorAt(hanging{}, time.Now()); !errors.Is(err, panics.ErrLeftBehind) {
			t.Errorf("CursorAt: %v", err)
		}
		<-time.After(time.Hour) // until the one that was left behind has ended
	})
}
