// Package circuit sends nothing to an upstream that fails: after some failures its circuit opens for all processes, and
// after a rest one request probes whether it answers again. Package outbound asks it before each request.
package circuit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// State is what all processes know of a circuit: the value of its cell. One that never opened has none.
type State struct {
	Open bool `json:"open"`
	// Transition numbers the openings and closings. It grows even when the cells are lost.
	Transition int64 `json:"transition"`
	// Since is when the circuit last opened or closed, and Reason why.
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	// Until is the end of the cooldown, in which no request is sent. After it, one request at a time probes.
	Until time.Time `json:"until,omitzero"`
	// Prober is the process that probes, until ProbeUntil.
	Prober     string    `json:"prober,omitempty"`
	ProbeUntil time.Time `json:"probe_until,omitzero"`
}

// Transition is a circuit that opened or closed.
type Transition struct {
	Provider, Integration string
	State
}

// The reasons of transitions.
const (
	ReasonFailures      = "too many requests failed"
	ReasonProbeFailed   = "the probe failed"
	ReasonProbeAnswered = "the probe was answered"
	ReasonReset         = "reset by an operator"
)

// Circuits are the circuits of all integrations, as one process knows them. A closed circuit costs no round trip: each
// process counts its own requests, and watches the cells for circuits that other processes open.
type Circuits struct {
	config Config

	mu      sync.Mutex
	known   map[string]knownCircuit
	tallies map[string]*tally
	// untold are transitions of this process of which OnTransition has not returned nil yet.
	untold []Transition
	kicked chan struct{}
}

// Config is what circuits are made of.
type Config struct {
	Cells cells.Cells
	Clock cells.Clock
	// Owner names this process.
	Owner string
	// Settings are for all providers but those that Providers has.
	Settings  Settings
	Providers map[string]Settings
	// OnTransition is called for each transition of this process, and repeated until it returns nil. If the process
	// dies first, the scheduler finds the transition when it compares circuits with the database.
	OnTransition func(context.Context, Transition) error
	Log          *slog.Logger
	Metrics      *Metrics
	Now          func() time.Time
}

type knownCircuit struct {
	State
	revision uint64
}

// New returns circuits that are all closed until [Circuits.Run] has read the cells.
func New(config Config) *Circuits {
	if config.OnTransition == nil {
		config.OnTransition = func(context.Context, Transition) error { return nil }
	}
	return &Circuits{
		config: config, known: map[string]knownCircuit{}, tallies: map[string]*tally{},
		kicked: make(chan struct{}, 1),
	}
}

// Run watches the transitions of other processes, and reports those of this one, until ctx ends.
func (c *Circuits) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return c.config.Cells.Watch(ctx, "*.*", func(key string, value []byte, revision uint64) {
			var state State
			if json.Unmarshal(value, &state) == nil {
				c.note(key, knownCircuit{state, revision})
			}
		})
	})
	group.Go(func() error { return c.tellAll(ctx) })
	return group.Wait()
}

// Known are all circuits that ever opened, as this process knows them.
func (c *Circuits) Known() []Transition {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Transition, 0, len(c.known))
	for key, known := range c.known {
		all = append(all, transitionOf(key, known.State))
	}
	return all
}

// State reads a circuit's cell.
func (c *Circuits) State(ctx context.Context, provider, integration string) (State, error) {
	known, err := c.read(ctx, provider+"."+integration)
	return known.State, err
}

// Restore writes the state of a circuit whose cell is lost. A cell that exists is left as it is.
func (c *Circuits) Restore(ctx context.Context, t Transition) error {
	_, err := c.write(ctx, t.Provider+"."+t.Integration, t.State, 0)
	return err
}

// Reset closes a circuit if it is open.
func (c *Circuits) Reset(ctx context.Context, provider, integration string) error {
	key := provider + "." + integration
	for {
		have, err := c.read(ctx, key)
		if err != nil || !have.Open {
			return err
		}
		moved, err := c.move(ctx, key, have, c.next(have.State, ReasonReset))
		if err != nil || moved {
			return err
		}
	}
}

func (c *Circuits) settings(key string) Settings {
	provider, _, _ := strings.Cut(key, ".")
	if settings, ok := c.config.Providers[provider]; ok {
		return settings
	}
	return c.config.Settings
}

// now is the broker's time, so that a cooldown ends for all processes at once. While it is not known, it is the time of
// this process.
func (c *Circuits) now() time.Time {
	if earliest, _, known := c.config.Clock.Bounds(); known {
		return earliest
	}
	return c.config.Now()
}

func (c *Circuits) note(key string, now knownCircuit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.known[key]; !ok || now.revision > have.revision || now.Transition > have.Transition {
		c.known[key] = now
	}
}

// lost notes that the broker has lost the cell of a circuit: the next transition creates it.
func (c *Circuits) lost(key string, fresh knownCircuit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.known[key]; ok && fresh.revision == 0 {
		have.revision = 0
		c.known[key] = have
	}
}

func (c *Circuits) read(ctx context.Context, key string) (knownCircuit, error) {
	value, revision, err := c.config.Cells.Read(ctx, key)
	known := knownCircuit{revision: revision}
	if err != nil || len(value) == 0 {
		return known, err
	}
	if err := json.Unmarshal(value, &known.State); err != nil {
		return known, fmt.Errorf("read the circuit %s: %w", key, err)
	}
	return known, nil
}

// next is the next state of a circuit. The reason decides whether it is open.
func (c *Circuits) next(from State, reason string) State {
	now := c.now()
	next := State{Transition: max(from.Transition+1, now.UnixMilli()), Since: now, Reason: reason}
	next.Open = reason == ReasonFailures || reason == ReasonProbeFailed
	return next
}

// move writes a transition from the known state, and has it reported. It returns false when another process was faster.
func (c *Circuits) move(ctx context.Context, key string, from knownCircuit, next State) (bool, error) {
	if err := c.config.Clock.Refresh(ctx); err != nil {
		return false, err
	}
	if next.Open {
		next.Until = c.now().Add(c.settings(key).Cooldown)
	}
	moved, err := c.write(ctx, key, next, from.revision)
	if !moved || err != nil {
		return false, err
	}
	t := transitionOf(key, next)
	c.config.Metrics.transitions.WithLabelValues(t.Provider, stateName(next.Open)).Inc()
	c.config.Log.Warn("circuit is "+stateName(next.Open), "provider", t.Provider, "integration", t.Integration,
		"reason", next.Reason)
	c.mu.Lock()
	c.untold = append(c.untold, t)
	c.mu.Unlock()
	c.kick()
	return true, nil
}

func (c *Circuits) write(ctx context.Context, key string, next State, revision uint64) (bool, error) {
	value, err := json.Marshal(next)
	if err != nil {
		return false, fmt.Errorf("encode the circuit %s: %w", key, err)
	}
	written, ok, err := c.config.Cells.Write(ctx, key, value, revision)
	switch {
	case err != nil:
		return false, err
	case ok:
		c.note(key, knownCircuit{next, written})
	default:
		// The watch has not delivered the other process's write yet, so it is read.
		if fresh, err := c.read(ctx, key); err == nil {
			c.note(key, fresh)
			c.lost(key, fresh)
		}
	}
	return ok, nil
}

func (c *Circuits) kick() {
	select {
	case c.kicked <- struct{}{}:
	default:
	}
}

// tellAll reports this process's transitions, those of one integration in order. One that can't be reported delays only
// those of its own integration.
func (c *Circuits) tellAll(ctx context.Context) error {
	for ctx.Err() == nil {
		c.mu.Lock()
		untold := slices.Clone(c.untold)
		c.mu.Unlock()
		if len(untold) == 0 {
			select {
			case <-ctx.Done():
			case <-c.kicked:
			}
			continue
		}
		held := 0
		why := watchdog.Step(ctx, "tell of circuits", func(ctx context.Context) (err error) {
			held, err = c.tell(ctx, untold)
			return err
		})
		if why != nil && ctx.Err() == nil {
			c.config.Log.Warn("transitions of circuits are not written down yet", "integrations", held, "error", why)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

// tell reports transitions. It returns the number of integrations with transitions that are left, and why.
func (c *Circuits) tell(ctx context.Context, untold []Transition) (held int, why error) {
	behind := map[string]bool{}
	for _, t := range untold {
		if ctx.Err() != nil || behind[t.Integration] {
			continue
		}
		if err := c.config.OnTransition(ctx, t); err != nil {
			behind[t.Integration], why = true, fmt.Errorf("integration %s: %w", t.Integration, err)
			continue
		}
		c.mu.Lock()
		c.untold = slices.DeleteFunc(c.untold, func(o Transition) bool { return o == t })
		c.mu.Unlock()
	}
	return len(behind), why
}

func transitionOf(key string, state State) Transition {
	provider, integration, _ := strings.Cut(key, ".")
	return Transition{Provider: provider, Integration: integration, State: state}
}

func stateName(open bool) string {
	if open {
		return "open"
	}
	return "closed"
}

func refusal(wait time.Duration, why string) error {
	return contracts.RetryAfter(wait, fmt.Errorf("%w: %s", contracts.ErrCircuitOpen, why))
}
