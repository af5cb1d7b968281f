package scheduler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// undated is a ledger that can't make a cursor of a time: at is called then.
type undated struct {
	ledger
	at func()
}

func (undated) SyncIncremental(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return errors.New("not in these tests")
}

func (u undated) CursorAt(time.Time) (contracts.Cursor, error) {
	u.at()
	return nil, errors.New("no cursor of a time")
}

// A command that a provider can't carry out is refused at once, with what the provider says.
func TestRecoverWithoutACursorOfATime(t *testing.T) {
	t.Parallel()
	for want, at := range map[string]func(){"no cursor of a time": func() {}, "CursorAt panicked": func() { panic("boo") }} {
		s := newStage(t, func(c *platform.Config) { c.Providers["ledger"] = undated{at: at} })
		id := s.integration(t, "ledger", "7")
		_, err := s.Command(t.Context(), events.VerbRecover, &eventsv1.Command{Integration: id.String(), Since: "2024-06-30T00:00:00Z"})
		if api.CodeOf(err) != api.Refused || !strings.Contains(err.Error(), want) {
			t.Errorf("refused with %v, want %q", err, want)
		}
	}
}

// A run ends though the provider can't say from where the sync that follows is to start. That one is a full sync, which
// leaves no gap.
func TestRecoverAfterARunWithoutACursorOfATime(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(){"error": func() {}, "panic": func() { panic("boo") }} {
		for _, end := range []string{"close", "cancel"} {
			t.Run(name+" "+end, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, func(c *platform.Config) { c.Providers["ledger"] = undated{at: at} })
				id := s.integration(t, "ledger", "7")
				run := s.begin(t, id, "incremental")
				if result := s.command(t, events.VerbRecover, id, &eventsv1.Command{Since: "2024-06-30T00:00:00Z"}); result != "queued-behind" {
					t.Fatalf("the command is answered with %q", result)
				}
				if end == "cancel" {
					s.command(t, events.VerbCancel, id, &eventsv1.Command{})
				} else {
					s.finish(t, run, came{state: done, checkpoint: "8"})
				}
				s.awaitClosed(t, run.ID)
				next, err := s.Store.RunGetOpen(t.Context(), id)
				if err != nil || next.Mode != "full" || next.FollowUpSince != nil {
					t.Errorf("the next run is %+v, %v; want a full sync", next, err)
				}
			})
		}
	}
}
