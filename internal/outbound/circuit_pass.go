package outbound

import (
	"context"
	"strings"
	"time"
)

const (
	// forcedFor is how long a request waits that an operator's override without an end keeps back, before it looks again.
	forcedFor = time.Minute
	// probedFor is how long one waits at most for another's probe.
	probedFor = 5 * time.Second
)

// pass is the leave of one request.
type pass struct {
	key string
	// counts says that the outcome is counted; trips, that it can open the circuit.
	counts, trips bool
	// probe says that the outcome decides about an open circuit, whose state at was then.
	probe bool
	at    knownCircuit
}

// enter lets a request through, or returns a deferral.
func (c *Circuits) enter(ctx context.Context, key string, settings Settings) (pass, error) {
	provider, _, _ := strings.Cut(key, ".")
	switch settings.circuitAt(c.config.Now()) {
	case CircuitForcedOpen:
		c.config.Metrics.refused(provider, "circuit")
		wait := forcedFor
		if !settings.CircuitUntil.IsZero() {
			wait = settings.CircuitUntil.Sub(c.config.Now())
		}
		return pass{}, refusal(wait, "an operator has it so")
	case CircuitDisabled:
		return pass{key: key}, nil
	case CircuitForcedClosed:
		return pass{key: key, counts: true}, nil
	case CircuitAuto:
	}
	c.mu.Lock()
	at := c.known[key]
	c.mu.Unlock()
	if !at.Open {
		return pass{key: key, counts: true, trips: true, at: at}, nil
	}
	now := c.now()
	if wait := at.Until.Sub(now); wait > 0 {
		c.config.Metrics.refused(provider, "circuit")
		return pass{}, refusal(wait, at.Reason)
	}
	return c.probe(ctx, key, provider, at, now)
}

// probe makes the request the one that looks whether the upstream is well again, unless another is about it.
func (c *Circuits) probe(ctx context.Context, key, provider string, at knownCircuit, now time.Time) (pass, error) {
	if wait := at.ProbeUntil.Sub(now); wait > 0 {
		c.config.Metrics.refused(provider, "circuit")
		return pass{}, refusal(min(wait, probedFor), "a request finds out whether the upstream is well again")
	}
	next := at.CircuitState
	next.Prober, next.ProbeUntil = c.config.Owner, now.Add(c.settings(key).ProbeLease)
	won, err := c.write(ctx, key, next, at.revision)
	if err != nil || !won {
		c.config.Metrics.refused(provider, "circuit")
		return pass{}, refusal(time.Second, "a request finds out whether the upstream is well again")
	}
	c.mu.Lock()
	at = c.known[key]
	c.mu.Unlock()
	return pass{key: key, counts: true, probe: true, at: at}, nil
}

// leave hears what became of a request. A probe's answer decides; other requests are counted while the circuit is closed as it was when they were let through.
func (c *Circuits) leave(ctx context.Context, p pass, what outcome) {
	ctx = context.WithoutCancel(ctx)
	if p.probe {
		c.conclude(ctx, p, what)
		return
	}
	if what == silent {
		return
	}
	c.mu.Lock()
	at := c.known[p.key]
	count := c.tallies[p.key]
	if count == nil {
		if len(c.tallies) >= mostAccounts {
			clear(c.tallies)
		}
		count = &tally{}
		c.tallies[p.key] = count
	}
	current := !at.Open && (!p.trips || at.Transition == p.at.Transition)
	opens := current && count.add(c.settings(p.key), at.Transition, what == failed, c.now()) && p.trips
	c.mu.Unlock()
	if !opens {
		return
	}
	next := c.next(at.CircuitState, CircuitFailures)
	if _, err := c.move(ctx, p.key, at, next); err != nil {
		// The upstream has its rest from this process at least.
		c.config.Log.Warn("other processes were not told of an open circuit", "circuit", p.key, "error", err)
		next.Until = c.now().Add(c.settings(p.key).Cooldown)
		c.note(p.key, knownCircuit{next, at.revision})
	}
}

// conclude ends a probe: any answer closes the circuit, a failure opens it anew, and silence lets another probe. A probe whose lease was over and that another has
// taken over decides nothing.
func (c *Circuits) conclude(ctx context.Context, p pass, what outcome) {
	var err error
	switch what {
	case answered:
		_, err = c.move(ctx, p.key, p.at, c.next(p.at.CircuitState, CircuitProbeAnswered))
	case failed:
		_, err = c.move(ctx, p.key, p.at, c.next(p.at.CircuitState, CircuitProbeFailed))
	case silent:
		next := p.at.CircuitState
		next.Prober, next.ProbeUntil = "", time.Time{}
		_, err = c.write(ctx, p.key, next, p.at.revision)
	}
	if err != nil {
		c.config.Log.Warn("what a probe found is not known to others; another follows when its time is over", "circuit", p.key, "error", err)
	}
}
