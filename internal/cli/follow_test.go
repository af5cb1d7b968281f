package cli_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/events"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	total := int64(250)
	for state, want := range map[string]int{
		"succeeded": cli.ExitOK, "partial": cli.ExitFailed,
		"cancelled": cli.ExitFailed,
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := newStub(t)
			s.on(api.CommandEndpoint(events.VerbSync), "", map[string]any{
				"accepted": true, "result": "started",
				"run_id": closedRun("").ID,
			})
			s.on(api.RunsShow, "",
				openRun("due", &api.Progress{}), openRun("enumerating", &api.Progress{Finished: 10}),
				openRun("enumerating", &api.Progress{Finished: 10}),
				&api.Error{Code: api.Unavailable, Message: "away for a moment"},
				openRun("working", &api.Progress{Finished: 120, Dead: 1, Retrying: 3, Total: &total}), closedRun(state))
			got := s.run(nil, "sync", "docs", "--follow", "--json")
			var run api.Run
			if err := json.Unmarshal([]byte(got.out), &run); err != nil || string(run.State) != state ||
				got.code != want {
				t.Errorf("exit code %d, want %d; output %s", got.code, want, got.out)
			}
			lines := strings.Split(got.err, "\n")
			wantLines := []string{
				"started: run " + closedRun("").ID, "due",
				"enumerating: 10 items finished, 0 dead, 0 waiting for another try",
				"working: 120 of 250 items finished, 1 dead, 3 waiting for another try",
			}
			if diff := cmp.Diff(wantLines, lines[:min(len(lines), 4)]); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
		})
	}
}

// A run of which nothing is heard for long: what it waits for is told after 10 s, and then after twice as long.
func TestFollowTellsWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	replies := []any{openRun("due", &api.Progress{})}
	for range 10 {
		replies = append(replies, openRun("enumerating", &api.Progress{Finished: 10}))
	}
	s.on(api.RunsShow, "", append(replies, closedRun("succeeded"))...)
	clock := now
	got := s.run(func(env *cli.Env) {
		env.Now = func() time.Time { clock = clock.Add(5 * time.Second); return clock }
	}, "runs", "show", "7", "-f")
	want := []string{
		"due", "enumerating: 10 items finished, 0 dead, 0 waiting for another try",
		"enumerating: nothing new for 10s; waiting for the provider github and its upstream",
		"enumerating: nothing new for 20s; waiting for the provider github and its upstream",
		"enumerating: nothing new for 40s; waiting for the provider github and its upstream",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(got.err), "\n")); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.on(api.RunsShow, "", openRun("due", &api.Progress{}))
	done := make(chan result, 1)
	go func() { done <- s.run(func(env *cli.Env) { env.Context = ctx }, "runs", "show", "7", "-f") }()
	<-s.asked
	cancel()
	if got := <-done; got.code != cli.ExitFailed {
		t.Errorf("got %+v", got)
	}
}

// A sync that is queued behind an open run is told of, and its own run is the one that counts.
func TestFollowBehindAnotherRun(t *testing.T) {
	t.Parallel()
	ahead := closedRun("failed")
	own := closedRun("succeeded")
	own.ID = "01a208a9-0000-7000-8000-000000000002"
	later := own
	later.ID = "01a208a9-0000-7000-8000-000000000003"
	queued := map[string]any{"accepted": true, "result": "queued-behind", "run_id": ahead.ID}
	t.Run("it starts", func(t *testing.T) {
		t.Parallel()
		s := newStub(t)
		s.on(api.CommandEndpoint(events.VerbSync), "", queued)
		s.on(api.RunsShow, "", openRun("working", &api.Progress{}), ahead, own)
		s.on(api.RunsList, "", api.RunPage{Runs: []api.Run{later, own, ahead}})
		got := s.run(nil, "sync", "docs", "--follow", "--json")
		var run api.Run
		if err := json.Unmarshal([]byte(got.out), &run); err != nil || run.ID != own.ID || got.code != cli.ExitOK {
			t.Errorf("exit code %d, output %s", got.code, got.out)
		}
		for _, part := range []string{"starts when run " + ahead.ID, "ended as failed; following run " + own.ID} {
			if !strings.Contains(got.err, part) {
				t.Errorf("it does not say %q: %s", part, got.err)
			}
		}
		for range 3 {
			_ = s.nextAsked()
		}
		if asked := s.nextAsked(); !strings.Contains(asked, ahead.IntegrationID) {
			t.Errorf("it looks for its run by %s", asked)
		}
		if asked := s.nextAsked(); !strings.Contains(asked, own.ID) {
			t.Errorf("at last it asked for %s, want its own run", asked)
		}
	})
	t.Run("it does not start", func(t *testing.T) {
		t.Parallel()
		s := newStub(t)
		s.on(api.CommandEndpoint(events.VerbSync), "", queued)
		s.on(api.RunsShow, "", ahead)
		s.on(api.RunsList, "", api.RunPage{Runs: []api.Run{ahead}})
		got := s.run(nil, "sync", "docs", "--follow")
		if got.code != cli.ExitFailed || !strings.Contains(got.err, "has not started") {
			t.Errorf("got %+v", got)
		}
	})
}

func TestSinceIsATime(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.on(api.RequestsList, "", api.RequestPage{})
	for _, since := range []string{"2h", "2026-01-31T11:00:00+01:00"} {
		got := s.run(nil, "requests", "list", "--since", since)
		if asked := s.nextAsked(); got.code != cli.ExitOK || !strings.Contains(asked, "2026-01-31T10:00:00Z") &&
			!strings.Contains(asked, "2026-01-31T11:00:00+01:00") {
			t.Errorf("%s: exit code %d, asked %s", since, got.code, asked)
		}
	}
}
