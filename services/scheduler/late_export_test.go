package scheduler

import (
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// CursorAt asks a provider for the cursor of a time.
func CursorAt(dater contracts.CursorDater, at time.Time) (contracts.Cursor, error) {
	return cursorAt(dater, at)
}
