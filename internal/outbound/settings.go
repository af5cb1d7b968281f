package outbound

import (
	"time"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Settings are what can change about an integration while its requests go on.
type Settings struct {
	// CredentialsVersion is raised whenever the credentials are written; 0 means that there are none.
	CredentialsVersion int64
	// Limit, unless nil, stands in the place of the provider's request budget until LimitUntil, for good if that is
	// zero.
	Limit      *contracts.RateLimit
	LimitUntil time.Time
	// Circuit overrides the circuit until CircuitUntil, for good if that is zero.
	Circuit      circuit.Override
	CircuitUntil time.Time
}

// limitAt is the budget that an operator has set, nil if none or if its time is over.
func (s Settings) limitAt(now time.Time) *contracts.RateLimit {
	if s.Limit == nil || !s.LimitUntil.IsZero() && !now.Before(s.LimitUntil) {
		return nil
	}
	return s.Limit
}
