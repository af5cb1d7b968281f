package outbound

import "time"

// CircuitStrategy is how a circuit judges an upstream.
type CircuitStrategy string

// The strategies.
const (
	// CircuitByRate opens when too large a share of the recent requests fails.
	CircuitByRate CircuitStrategy = "rate"
	// CircuitByCount opens after failures on end.
	CircuitByCount CircuitStrategy = "count"
)

// CircuitSettings are the numbers that a circuit goes by; [DefaultCircuit] has the original's. Only failures of class upstream count as such.
type CircuitSettings struct {
	Strategy CircuitStrategy
	// Window is what the rate is taken of; fewer than Floor requests in it say nothing, and Percent of them must fail.
	Window  time.Duration
	Floor   int
	Percent int
	// Count is how many failures on end open the circuit, by count.
	Count int
	// Cooldown is how long an open circuit lets nothing through.
	Cooldown time.Duration
	// ProbeLease is after how long a probe that came to nothing gives its place to another.
	ProbeLease time.Duration
}

// DefaultCircuit is half of at least 10 requests in 60 s, then 60 s of rest.
func DefaultCircuit() CircuitSettings {
	return CircuitSettings{
		Strategy: CircuitByRate, Window: time.Minute, Floor: 10, Percent: 50, Count: 5, Cooldown: time.Minute, ProbeLease: 2 * time.Minute,
	}
}

// slots are the parts that a window is counted in: the oldest is dropped whole.
const slots = 10

// tally counts what became of this process's requests while a circuit is closed. Its zero value has counted nothing.
type tally struct {
	parts  [slots]part
	onEnd  int
	closed int64
}

// part is what happened in the n-th part of a window since 1970.
type part struct {
	n             int64
	total, failed int
}

// add counts an outcome in the circuit's closed time of that number, and reports whether the circuit must open. Only a failure can open it.
func (t *tally) add(settings CircuitSettings, closed int64, failed bool, now time.Time) bool {
	if t.closed != closed {
		*t = tally{closed: closed}
	}
	if !failed {
		t.onEnd = 0
	} else {
		t.onEnd++
	}
	n := now.UnixNano() / max(int64(settings.Window)/slots, 1)
	p := &t.parts[n%slots]
	if p.n != n {
		*p = part{n: n}
	}
	p.total++
	if failed {
		p.failed++
	}
	if !failed || settings.Strategy == CircuitByCount {
		return failed && t.onEnd >= settings.Count
	}
	total, failures := 0, 0
	for _, p := range t.parts {
		if n-p.n < slots {
			total, failures = total+p.total, failures+p.failed
		}
	}
	return total >= settings.Floor && failures*100 >= settings.Percent*total
}
