package scheduler_test

import (
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
)

// TestAnAttemptThatIsNotTheNewestIsNotRepeated has another attempt begin while the scheduler is about to repeat one of
// which Postgres lacks items: the newest goes on.
func TestAnAttemptThatIsNotTheNewestIsNotRepeated(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Scheduler.LockWait, c.SetAside.Step = time.Hour, time.Hour })
	run := s.begin(t, s.integration(t, "ledger", ""), "full")
	free := s.lock(t, "select 1 from integrations where id = $1 for no key update", run.IntegrationID)
	s.finish(t, run, came{state: dead, unbacked: true})
	await(t, "the scheduler to wait for the integration", func() bool { return s.lockWaits(t) == 1 })
	if err := startNext(t.Context(), s, run); err != nil {
		t.Fatal(err)
	}
	free()
	s.closeAnother(t)
	if now := s.run(t, run.ID); now.Wake != run.Wake || now.State != "enumerating" {
		t.Errorf("the run is %s with wake %d, want its newest attempt to go on with wake %d", now.State, now.Wake, run.Wake)
	}
}
