package syncer

import (
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// tellFrom is how long a wait in place must be to be told of.
const tellFrom = 10 * time.Second

// patience has the requests of an enumeration wait in place: a deferral would end it, and the next one would begin at
// the first page. While all wait, the slot is another's.
func (s *session) patience(in *contracts.Integration) *outbound.Patience {
	redactor := redact.New(nil, in)
	return &outbound.Patience{
		Most: s.syncer.Settings.Patience, Bounds: s.syncer.Settings.Waits,
		Waits: func(until time.Time, why error) (func(), bool) {
			if !s.aside.enter() {
				return nil, false
			}
			s.waiting.Add(1)
			var told int64
			if until.Sub(s.syncer.Now()) >= tellFrom {
				told = s.told.Add(1)
				s.syncer.hold(s, runs.Pause{
					Until: until, Why: foreign.Of(redactor.Error(why)),
					Cause: deferral.CauseOf(why),
				})
			}
			return func() {
				s.aside.leave()
				s.waiting.Add(-1)
				// A wait whose end has moved has begun anew before this one ends.
				if told > 0 && told == s.told.Load() {
					s.syncer.hold(s, runs.Pause{})
				}
			}, true
		},
	}
}

// hold notes that the enumeration waits in place, or goes on. It only informs, so that an error stops nothing.
func (s *Syncer) hold(of *session, pause runs.Pause) {
	run := of.run
	if !pause.Until.IsZero() {
		s.Log.Info("enumeration waits in place", "run", run.ID, "provider", run.Provider, "until", pause.Until, "for",
			pause.Cause, "error", pause.Why)
		s.Metrics.deferred(run.Provider)
	}
	err := s.Runs.Hold(of.work, run, pause)
	if err != nil {
		s.Log.Warn("could not note that an enumeration waits in place", "run", run.ID, "error", err)
	}
}
