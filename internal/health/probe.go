package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// checkFor is how long a health check may take; whoever asks for one waits a little longer.
	checkFor = 8 * time.Second
	// leftAfter is how long a provider's code may go on after its time. Then it is left behind.
	leftAfter = time.Second
	// probesAtATime is how many upstreams one process asks at once.
	probesAtATime = 16
	forgetAtATime = 100
	pruneAtATime  = 5000
	// Minutes are counted for the failure rate, hours for the statistics of a month.
	minutesKept = time.Hour
	hoursKept   = 31 * 24 * time.Hour
)

// Checker asks upstreams how they are.
type Checker struct {
	*Keeper
	Registry     *registry.Registry
	Integrations *integrations.Loader
	SetAside     *setaside.Set
}

// ErrNotCheckable is what a check of an integration comes to whose provider is no [contracts.HealthChecker].
var ErrNotCheckable = errors.New("the provider has no health check")

// Check asks the upstream of an integration. What it is told is nil when the upstream answers and accepts the
// credentials; it is the provider's error, though it may look like one of a store. The other error says why the upstream
// could not be asked. What the requests come to counts as it does for all requests; a deferral counts for nothing.
func (c *Checker) Check(ctx context.Context, row *postgres.Integration) (told, err error) {
	provider, err := c.Registry.Provider(row.Provider)
	if err != nil {
		return nil, err
	}
	checker, ok := provider.(contracts.HealthChecker)
	if !ok {
		return ErrNotCheckable, nil
	}
	in, err := c.Integrations.Load(ctx, row.ID, row.Version)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	_, told = panics.Within(ctx, leftAfter, "HealthCheck", func() (struct{}, error) { return struct{}{}, checker.HealthCheck(ctx, in) })
	return redact.New(provider, in).Error(told), nil
}

// Sweep does what no request causes: it asks upstreams that are due to be asked, judges failure rates, closes forgotten incidents, and drops old
// counters.
func (c *Checker) Sweep(ctx context.Context) error {
	return errors.Join(c.probe(ctx), c.JudgeRates(ctx), c.closeForgotten(ctx, forgetAtATime), c.pruneCounts(ctx))
}

func (c *Checker) pruneCounts(ctx context.Context) error {
	now := c.Now()
	_, err := c.Store.RequestCountPrune(ctx, dbsqlc.RequestCountPruneParams{
		MinutesBefore: now.Add(-minutesKept), HoursBefore: now.Add(-hoursKept), Most: pruneAtATime,
	})
	if err != nil {
		return fmt.Errorf("prune the counters of requests: %w", err)
	}
	return nil
}

// probe asks the upstreams whose time has come. One that was disabled and answers is let try again; a provider without a health check is asked by
// a sync, so that its integrations are let try again without being asked.
func (c *Checker) probe(ctx context.Context) error {
	now := c.Now()
	p := dbsqlc.HealthClaimProbesParams{
		Now: now, Idle: c.Settings.Idle, First: c.Settings.FirstProbe, Longest: c.Settings.LongestProbe,
		Checked: []string{}, Providers: c.Registry.Keys(), Most: probesAtATime,
	}
	for _, key := range p.Providers {
		provider, err := c.Registry.Provider(key)
		if err != nil {
			return err
		}
		if _, ok := provider.(contracts.HealthChecker); ok {
			p.Checked = append(p.Checked, key)
		}
	}
	rows, err := c.Store.HealthClaimProbes(ctx, p)
	if err != nil {
		return fmt.Errorf("claim probes: %w", err)
	}
	failed := make([]error, len(rows))
	var asking sync.WaitGroup
	for i, row := range rows {
		asking.Go(func() { failed[i] = c.probeOne(ctx, row) })
	}
	asking.Wait()
	return errors.Join(failed...)
}

func (c *Checker) probeOne(ctx context.Context, row *postgres.Integration) error {
	told, err := c.Check(ctx, row)
	if told != nil {
		err = told
	}
	deferral, deferred := contracts.AsDeferral(err)
	switch {
	case deferred:
		c.Log.Info("the upstream could not be asked how it is", "integration", row.Name, "provider", row.Provider, "reason", deferral)
	case row.Health != Disabled:
		if err != nil {
			c.Log.Warn("the health check failed", "integration", row.Name, "provider", row.Provider, "error", err)
		}
	case errors.Is(err, ErrNotCheckable):
		return c.TryAgain(ctx, row.ID, "a sync is to show whether the upstream is back")
	case err != nil:
		c.Log.Info("the upstream is not back", "integration", row.Name, "provider", row.Provider, "error", err, "next", row.ProbeAt)
	default:
		return c.TryAgain(ctx, row.ID, "the upstream passes its health check again")
	}
	return nil
}
