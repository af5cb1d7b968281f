package platform

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tributaryhq/tributary/internal/readiness"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// stalledAfter is for how long messages may wait for a consumer that has room before that is reported.
const stalledAfter = 30 * time.Second

const (
	// quietAfter is for how long a step of a loop may be without an answer of a store, or other progress.
	quietAfter = time.Minute
	// stuckAfter is how long one step of a loop may take: longer than any that does its work, also on large tables.
	stuckAfter = 15 * time.Minute
)

// writesTo are the streams and buckets that a service writes to.
func writesTo(service string) []string {
	switch service {
	case SchedulerService:
		return []string{
			wire.StreamSync, wire.StreamItems, events.StreamEvents, wire.BucketCheckpoints, wire.BucketDirectory,
			wire.BucketMark, wire.BucketLimits, wire.BucketCircuits,
		}
	case SyncerService, ItemWorkerService:
		return []string{
			wire.StreamItems, wire.BucketCheckpoints, wire.BucketLimits, wire.BucketCircuits,
			wire.BucketKeys,
		}
	case TokenRefresherService:
		return []string{wire.BucketGrants, wire.BucketLimits, wire.BucketCircuits}
	case IngressService:
		return []string{wire.StreamWebhooks}
	}
	return nil
}

// addChecks adds what has to be well for the services to do their work: each store that they need would take a write
// now.
func (p *Platform) addChecks(services []string) {
	var stores []string
	for _, service := range services {
		stores = append(stores, writesTo(service)...)
	}
	slices.Sort(stores)
	stores = slices.Compact(stores)
	p.Readiness.Add(readiness.Check{Name: "NATS", Ready: func(ctx context.Context) error {
		return errors.Join(p.Bus.Storing(ctx), p.Bus.Room(stores...))
	}})
	p.Readiness.Add(readiness.Check{Name: "progress", Ready: func(context.Context) error {
		return errors.Join(p.Bus.Moving(stalledAfter), p.loops.Moving(quietAfter, stuckAfter))
	}})
	if p.config.Pool != nil {
		p.Readiness.Add(readiness.Check{Name: "Postgres", Ready: p.Store.Ready})
	}
	if slices.Contains(services, IngressService) {
		p.Readiness.Add(readiness.Check{Name: "directory", Ready: func(context.Context) error {
			return p.Directory.Ready()
		}})
	}
}

// keepReady runs the checks until ctx ends.
func (p *Platform) keepReady(ctx context.Context) error {
	p.Readiness.Run(ctx)
	return nil
}
