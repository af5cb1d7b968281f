package syncer

import (
	"fmt"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// alive puts a due event off while the enumeration that it asked for shows signs of life. A broker that is slow to hear of
// the work on a message delivers it again, also to the process that has it; a try that ends so would count as a death. One
// that has died has shown no sign for two thirds of an ack deadline by then.
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
		return foreign.Line(fmt.Sprintf("the enumeration did not survive %d tries: %s", s.Settings.Tries, orUnknown(run.Error)))
	}
	if run.Attempts > 1 && s.Now().Sub(run.WindowFrom) > s.Settings.RunWindow {
		return foreign.Line(fmt.Sprintf("waited too long: not enumerated within %s: %s", s.Settings.RunWindow, orUnknown(run.Error)))
	}
	return ""
}
