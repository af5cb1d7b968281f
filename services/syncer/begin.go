package syncer

import (
	"fmt"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// alive returns an error that hands the due event back while some syncer still writes heartbeats for the run. NATS
// delivers a message again when it hears too late that somebody works on it. To begin anew then would count a try, as
// after a death. After a real death the last heartbeat is at least two thirds of an ack deadline old when the message
// comes again.
func (s *Syncer) alive(run *postgres.Run) error {
	quiet := s.Bus.Timing().AckWait / 2
	if age := s.Now().Sub(run.HeartbeatAt); age < 0 || age >= quiet {
		return nil
	}
	return bus.Again(quiet, "its enumeration shows signs of life")
}

// exhausted says why a run may not be enumerated again, or nothing.
func (s *Syncer) exhausted(run *postgres.Run) foreign.Text {
	if int(run.Tries) > s.Settings.Tries {
		return foreign.Line(fmt.Sprintf("the enumeration did not survive %d tries: %s", s.Settings.Tries,
			orUnknown(run.Error)))
	}
	if run.Attempts > 1 && s.Now().Sub(run.WindowFrom) > s.Settings.RunWindow {
		return foreign.Line(fmt.Sprintf("waited too long: not enumerated within %s: %s", s.Settings.RunWindow,
			orUnknown(run.Error)))
	}
	return ""
}
