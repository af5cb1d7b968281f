package platform

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/wire"
)

// guard opens what all processes share to keep upstreams from harm.
func (p *Platform) guard(ctx context.Context) error {
	c := p.config
	metrics, err := budget.NewMetrics(c.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	circuitMetrics, err := circuit.NewMetrics(c.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	limits, err := p.Bus.Cells(ctx, wire.BucketLimits)
	if err != nil {
		return err
	}
	if p.keys, err = p.Bus.Cells(ctx, wire.BucketKeys); err != nil {
		return err
	}
	if p.grants, err = p.Bus.Cells(ctx, wire.BucketGrants); err != nil {
		return err
	}
	p.budgets = budget.New(limits, p.Bus.Clock(wire.BucketLimits), c.Log, metrics, c.Now)
	cells, err := p.Bus.Cells(ctx, wire.BucketCircuits)
	if err != nil {
		return err
	}
	p.circuits = circuit.New(circuit.Config{
		Cells: cells, Clock: p.Bus.Clock(wire.BucketCircuits), Owner: uuid.NewString(), Settings: c.Circuit,
		Providers:    c.Circuits,
		OnTransition: p.health.CircuitMoved, Log: c.Log, Metrics: circuitMetrics, Now: c.Now,
	})
	return nil
}
