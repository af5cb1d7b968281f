package control

import (
	"context"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/control/overrides"
	"github.com/tributaryhq/tributary/internal/postgres"
)

type circuitsAPI struct{ *Control }

func (c circuitsAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.CircuitOverride, Answer: api.Takes(c.override)},
		{Endpoint: api.CircuitShow, Answer: api.Takes(c.show)},
	}
}

func (c circuitsAPI) override(ctx context.Context, q api.OverrideCircuit) (api.CircuitStatus, error) {
	override := circuit.Override(q.Override)
	switch override {
	case circuit.ForcedOpen, circuit.ForcedClosed, circuit.Disabled:
	case circuit.Auto:
		if q.Until != nil {
			return api.CircuitStatus{}, api.Invalidf("a circuit is left to itself for good, without an until")
		}
	default:
		return api.CircuitStatus{}, api.Invalidf(
			"override is %q, it can be forced-open, forced-closed, disabled, or empty to leave the circuit to itself",
			q.Override,
		)
	}
	if err := c.inFuture(q.Until); err != nil {
		return api.CircuitStatus{}, err
	}
	var found *postgres.Integration
	err := c.locked(ctx, q.Integration, func(tx *postgres.Tx, row *postgres.Integration) error {
		found = row
		change := overrides.Circuit{Override: override, Until: q.Until, Reason: q.Reason, By: q.By}
		return overrides.SetCircuit(ctx, tx, row, change, c.Now())
	})
	if err != nil {
		return api.CircuitStatus{}, err
	}
	c.Log.Info("circuit overridden", "integration", q.Integration, "override", q.Override, "by", q.By)
	if override == circuit.Auto && c.Circuits != nil {
		// The operator has looked at the upstream, so the circuit closes without a probe.
		if err := c.Circuits.Reset(ctx, found.Provider, found.ID.String()); err != nil {
			c.Log.Warn("could not close a circuit", "integration", q.Integration, "error", err)
		}
	}
	return c.show(ctx, api.ByIntegration{Integration: q.Integration})
}

func (c circuitsAPI) show(ctx context.Context, q api.ByIntegration) (api.CircuitStatus, error) {
	row, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return api.CircuitStatus{}, err
	}
	reply := api.CircuitStatus{Integration: row.Name, State: "closed"}
	if row.CircuitUntil == nil || c.Now().Before(*row.CircuitUntil) {
		reply.Override, reply.OverrideUntil = row.CircuitOverride, row.CircuitUntil
	}
	if c.Circuits == nil {
		return reply, nil
	}
	state, err := c.Circuits.State(ctx, row.Provider, row.ID.String())
	if err != nil {
		c.Log.Warn("could not read a circuit", "integration", row.Name, "error", err)
		return reply, &api.Error{
			Code: api.Unavailable, Message: "the circuit can't be read from the broker now; try again",
		}
	}
	reply.Since, reply.Reason = given(state.Since), state.Reason
	if state.Open {
		reply.State, reply.Until = "open", given(state.Until)
		if c.Now().Before(state.ProbeUntil) {
			reply.State = "probing"
		}
	}
	// An override replaces the circuit's own state, so the reason and the times of that state are not shown.
	switch circuit.Override(reply.Override) {
	case circuit.Auto:
	case circuit.ForcedOpen:
		reply.State, reply.Since, reply.Reason, reply.Until = "open", nil, "", nil
	case circuit.ForcedClosed, circuit.Disabled:
		reply.State, reply.Since, reply.Reason, reply.Until = "closed", nil, "", nil
	}
	return reply, nil
}
