package circuit

import (
	"context"
	"time"
)

const (
	// forcedFor is for how long a request is deferred by an override that has no end.
	forcedFor = time.Minute
	// probedFor is for how long at most a request is deferred while another one probes.
	probedFor = 5 * time.Second
	// mostTallies bounds how many circuits are counted in memory. Beyond it, all counts start again at zero.
	mostTallies = 10_000
)

// Override is what an operator has a circuit do.
type Override string

// The overrides. The empty one leaves the circuit to itself.
const (
	Auto Override = ""
	// ForcedOpen lets no request through.
	ForcedOpen Override = "forced-open"
	// ForcedClosed lets every request through, and goes on counting.
	ForcedClosed Override = "forced-closed"
	// Disabled lets every request through and counts none.
	Disabled Override = "disabled"
)

// Outcome is what a request says about its upstream.
type Outcome int

const (
	// Silent is an outcome that says nothing: the request did not get there, or its caller gave up.
	Silent Outcome = iota
	// Answered is that of an upstream which is up, even if it rejects the request.
	Answered
	// Failed is that of an upstream which is down.
	Failed
)

// Pass lets one request through.
type Pass struct {
	key string
	// counts says that the outcome is counted, and trips that it can open the circuit.
	counts, trips bool
	// probe says that the outcome decides whether an open circuit closes. at is the state when the request was let
	// through.
	probe bool
	at    knownCircuit
}

// Enter lets a request through, or returns a deferral. An override holds until a time, for good if that is zero.
func (c *Circuits) Enter(
	ctx context.Context, provider, integration string, override Override, until time.Time,
) (Pass, error) {
	key := provider + "." + integration
	if !until.IsZero() && !c.config.Now().Before(until) {
		override = Auto
	}
	switch override {
	case ForcedOpen:
		wait := forcedFor
		if !until.IsZero() {
			wait = until.Sub(c.config.Now())
		}
		return Pass{}, refusal(wait, "an operator has it so")
	case Disabled:
		return Pass{key: key}, nil
	case ForcedClosed:
		return Pass{key: key, counts: true}, nil
	case Auto:
	}
	c.mu.Lock()
	at := c.known[key]
	c.mu.Unlock()
	if !at.Open {
		return Pass{key: key, counts: true, trips: true, at: at}, nil
	}
	now := c.now()
	if wait := at.Until.Sub(now); wait > 0 {
		return Pass{}, refusal(wait, at.Reason)
	}
	return c.probe(ctx, key, at, now)
}

// probe makes the request the probe of an open circuit, unless another request is that already.
func (c *Circuits) probe(ctx context.Context, key string, at knownCircuit, now time.Time) (Pass, error) {
	if wait := at.ProbeUntil.Sub(now); wait > 0 {
		return Pass{}, refusal(min(wait, probedFor), "a request finds out whether the upstream is well again")
	}
	next := at.State
	next.Prober, next.ProbeUntil = c.config.Owner, now.Add(c.settings(key).ProbeLease)
	won, err := c.write(ctx, key, next, at.revision)
	if err != nil || !won {
		return Pass{}, refusal(time.Second, "a request finds out whether the upstream is well again")
	}
	c.mu.Lock()
	at = c.known[key]
	c.mu.Unlock()
	return Pass{key: key, counts: true, probe: true, at: at}, nil
}

// Leave notes the outcome of a request that was let through. The outcome of a probe opens or closes the circuit. Other
// outcomes are counted if the circuit has been closed since the request was let through.
func (c *Circuits) Leave(ctx context.Context, p Pass, what Outcome) {
	if !p.counts {
		return
	}
	ctx = context.WithoutCancel(ctx)
	if p.probe {
		c.conclude(ctx, p, what)
		return
	}
	if what == Silent {
		return
	}
	c.mu.Lock()
	at := c.known[p.key]
	count := c.tallies[p.key]
	if count == nil {
		if len(c.tallies) >= mostTallies {
			clear(c.tallies)
		}
		count = &tally{}
		c.tallies[p.key] = count
	}
	current := !at.Open && (!p.trips || at.Transition == p.at.Transition)
	opens := current && count.add(c.settings(p.key), at.Transition, what == Failed, c.now()) && p.trips
	c.mu.Unlock()
	if !opens {
		return
	}
	next := c.next(at.State, ReasonFailures)
	if _, err := c.move(ctx, p.key, at, next); err != nil {
		// At least this process sends no requests during the cooldown.
		c.config.Log.Warn("other processes were not told of an open circuit", "circuit", p.key, "error", err)
		next.Until = c.now().Add(c.settings(p.key).Cooldown)
		c.note(p.key, knownCircuit{next, at.revision})
	}
}

// conclude ends a probe. An answer closes the circuit, a failure opens it again, and silence lets another request
// probe. A probe whose lease expired, and which another process has replaced, changes nothing.
func (c *Circuits) conclude(ctx context.Context, p Pass, what Outcome) {
	var err error
	switch what {
	case Answered:
		_, err = c.move(ctx, p.key, p.at, c.next(p.at.State, ReasonProbeAnswered))
	case Failed:
		_, err = c.move(ctx, p.key, p.at, c.next(p.at.State, ReasonProbeFailed))
	case Silent:
		next := p.at.State
		next.Prober, next.ProbeUntil = "", time.Time{}
		_, err = c.write(ctx, p.key, next, p.at.revision)
	}
	if err != nil {
		c.config.Log.Warn("what a probe found is not known to others; another follows when its time is over", "circuit",
			p.key, "error", err)
	}
}
