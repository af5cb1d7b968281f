package outbound

import (
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Settings are what can change about an integration while its requests go on.
type Settings struct {
	// CredentialsVersion is raised whenever the credentials are written; 0 means that there are none.
	CredentialsVersion int64
	// Limit, unless nil, stands in the place of the provider's request budget until LimitUntil, for good if that is zero.
	Limit      *contracts.RateLimit
	LimitUntil time.Time
	// Circuit overrides the circuit until CircuitUntil, for good if that is zero.
	Circuit      CircuitOverride
	CircuitUntil time.Time
}

// CircuitOverride is what an operator has a circuit do.
type CircuitOverride string

// The overrides. The empty one leaves the circuit to itself.
const (
	CircuitAuto CircuitOverride = ""
	// CircuitForcedOpen lets no request through.
	CircuitForcedOpen CircuitOverride = "forced-open"
	// CircuitForcedClosed lets every request through, and goes on counting.
	CircuitForcedClosed CircuitOverride = "forced-closed"
	// CircuitDisabled lets every request through and counts none.
	CircuitDisabled CircuitOverride = "disabled"
)

// limitAt is the budget that an operator has set, nil if none or if its time is over.
func (s Settings) limitAt(now time.Time) *contracts.RateLimit {
	if s.Limit == nil || ended(s.LimitUntil, now) {
		return nil
	}
	return s.Limit
}

// circuitAt is what an operator has the circuit do, if the time of that is not over.
func (s Settings) circuitAt(now time.Time) CircuitOverride {
	if ended(s.CircuitUntil, now) {
		return CircuitAuto
	}
	return s.Circuit
}

func ended(until, now time.Time) bool { return !until.IsZero() && !now.Before(until) }
