package platform

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tributaryhq/tributary/internal/readiness"
)

// stalledAfter is for how long messages may wait for a consumer that has room before that is reported.
const stalledAfter = 30 * time.Second

// stuckAfter is how long one step of a loop may take: longer than any that does its work, also on large tables.
const stuckAfter = 15 * time.Minute

// addChecks adds what has to be well for the services to do their work: each store that they need would take a write now.
func (p *Platform) addChecks(services []string) {
	p.Readiness.Add(readiness.Check{Name: "NATS", Ready: p.Bus.Storing})
	p.Readiness.Add(readiness.Check{Name: "progress", Ready: func(context.Context) error {
		return errors.Join(p.Bus.Moving(stalledAfter), p.loops.Moving(stuckAfter))
	}})
	if p.config.Pool != nil {
		p.Readiness.Add(readiness.Check{Name: "Postgres", Ready: p.Store.Ready})
	}
	if slices.Contains(services, IngressService) {
		p.Readiness.Add(readiness.Check{Name: "directory", Ready: func(context.Context) error { return p.Directory.Ready() }})
	}
}

// keepReady runs the checks until ctx ends.
func (p *Platform) keepReady(ctx context.Context) error {
	p.Readiness.Run(ctx)
	return nil
}
