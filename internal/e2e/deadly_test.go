package e2e_test

import (
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestReducerThatEndsTheProcess has the reducer of one provider end each scheduler that calls it. After a few of them
// its run closes as failed, and the scheduler lives; the run is reduced once the reducer is mended.
func TestReducerThatEndsTheProcess(t *testing.T) {
	w := newWorld(t)
	flag := w.flag()
	w.env = append(w.env, "TRIBUTARY_E2E_REDUCER_EXITS="+flag.path)
	flag.raise()
	w.fill(5)
	ended := w.startAll()[0].ended
	id := w.create("one", "list")
	for range 4 {
		<-ended
		// As if the time had passed in which another scheduler may still be at it.
		w.exec("update set_aside set next_try_at = now() where kind = $1", string(setaside.Reduce))
		ended = w.start("scheduler").ended
	}
	run := w.awaitClosed(id, 1)
	if run.State != "failed" || !strings.Contains(run.Error.String(), "the process ended each time") {
		t.Errorf("run %s, error %q", run.State, run.Error)
	}
	other := w.create("other", "feed")
	w.wantRun(w.awaitClosed(other, 1), "succeeded", 5, 0)
	flag.lower()
	w.exec("update set_aside set tries = 0, next_try_at = now() where kind = $1", string(setaside.Reduce))
	w.command(events.VerbRetry, "one", `{"all":true}`)
	w.await("the late reduce", func() bool { return w.cursor(id) == "5" })
	select {
	case <-ended:
		t.Error("the scheduler has ended once more")
	default:
	}
}

// exec changes something in the database.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}
