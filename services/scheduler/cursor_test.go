package scheduler_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// calendar has times for checkpoints.
type calendar struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.MaxTime
}

func (calendar) Name() string                           { return "Calendar" }
func (calendar) DefaultSyncInterval() time.Duration     { return interval }
func (calendar) DefaultRateLimit() *contracts.RateLimit { return nil }
func (calendar) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return errors.New("not in these tests")
}

// ruled is a ledger whose cursors are of another kind than its checkpoints, by a rule of its own.
type ruled struct{ ledger }

func (ruled) CursorAdvances(_, _ contracts.Cursor) bool { return true }

// panicking is a ledger whose check panics.
type panicking struct{ ledger }

func (panicking) CheckCheckpoint(contracts.Checkpoint, time.Time) error { panic("boo") }

// TestResetCursorAsksTheProvider resets cursors to what a provider can and can't go on from.
func TestResetCursorAsksTheProvider(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) {
		c.Providers["calendar"], c.Providers["ruled"], c.Providers["panicking"] = calendar{}, ruled{}, panicking{}
	})
	for _, tt := range []struct{ provider, to, refused string }{
		{"ledger", "7", ""},
		{"ledger", `"7"`, "is not a number"},
		{"ledger", `{"page":1}`, "tributary cursor show"},
		{"ledger", "7a", "not JSON"},
		{"calendar", `"2026-01-31T00:00:00Z"`, ""},
		{"calendar", `"31 January"`, "is not an RFC 3339 timestamp"},
		{"calendar", `"2926-01-31T00:00:00Z"`, "in the future"},
		{"diary", `{"page":1}`, ""},
		{"ruled", `{"page":1}`, ""},
		{"panicking", "7", "CheckCheckpoint panicked"},
		{"elsewhere", `{"page":1}`, ""},
	} {
		id := s.integration(t, tt.provider, "3")
		_, err := s.Command(t.Context(), events.VerbResetCursor, &eventsv1.Command{Integration: id.String(), To: &tt.to})
		switch {
		case tt.refused == "" && err != nil:
			t.Errorf("%s to %s: %v", tt.provider, tt.to, err)
		case tt.refused == "":
			s.wantCursor(t, id, tt.to)
		case tt.to == "7a":
			wantCode(t, err, api.Invalid, tt.refused)
			s.wantCursor(t, id, "3")
		default:
			wantCode(t, err, api.Refused, tt.refused)
			s.wantCursor(t, id, "3")
		}
	}
}
