package cli_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/events"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	total := int64(250)
	for state, want := range map[string]int{"succeeded": cli.ExitOK, "partial": cli.ExitFailed, "cancelled": cli.ExitFailed} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := newStub(t)
			s.on(api.CommandEndpoint(events.VerbSync), "", map[string]any{"accepted": true, "result": "started", "run_id": closedRun("").ID})
			s.on(api.RunsShow, "",
				openRun("due", &api.Progress{}), openRun("enumerating", &api.Progress{Finished: 10}), openRun("enumerating", &api.Progress{Finished: 10}),
				&api.Error{Code: api.Unavailable, Message: "away for a moment"},
				openRun("working", &api.Progress{Finished: 120, Dead: 1, Retrying: 3, Total: &total}), closedRun(state))
			got := s.run(nil, "sync", "docs", "--follow", "--json")
			var run api.Run
			if err := json.Unmarshal([]byte(got.out), &run); err != nil || run.State != state || got.code != want {
				t.Errorf("exit code %d, want %d; output %s", got.code, want, got.out)
			}
			lines := strings.Split(got.err, "\n")
			wantLines := []string{
				"started: run " + closedRun("").ID, "due", "enumerating: 10 items finished, 0 dead, 0 waiting for another try",
				"working: 120 of 250 items finished, 1 dead, 3 waiting for another try",
			}
			if diff := cmp.Diff(wantLines, lines[:min(len(lines), 4)]); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
		})
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
