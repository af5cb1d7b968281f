// Package housekeeping keeps what operators see true, and deletes what is old. It ends overrides, prunes tables, purges
// deleted integrations, keeps the directory of the webhook ingress, warns of services that do not run and of silent
// webhooks, and measures the tables. Every scheduler's process runs it; the work is idempotent or claimed.
package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/control/overrides"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
)

const (
	// sweepAtATime bounds the rows that one step of a sweep handles.
	sweepAtATime = 100
	// rememberCommands is how long the ids of commands are kept: far longer than a redelivery can take.
	rememberCommands = 7 * 24 * time.Hour
)

// Settings are the intervals and limits of housekeeping; [DefaultSettings] has the original's.
type Settings struct {
	// Sweep is the interval between two sweeps for ended overrides, deleted integrations, silent webhooks and old rows.
	Sweep time.Duration
	// Health is the interval between scans for integrations whose health check is due. Failure rates are judged then
	// too.
	Health time.Duration
	// Attended is the interval between checks that processes run of each service for which messages wait.
	Attended time.Duration
	// DirectoryRetry is how long after a failure directory entries are written again.
	DirectoryRetry time.Duration
	// WebhookSilence is how long an integration that has received webhooks may receive none before an event tells of
	// it. 0 turns the event off.
	WebhookSilence time.Duration
	// Retention is for how long rows are kept.
	Retention Retention
}

// DefaultSettings are the original's limits.
func DefaultSettings() Settings {
	return Settings{
		Sweep: 10 * time.Second, Health: 30 * time.Second, Attended: 15 * time.Second, DirectoryRetry: time.Second,
		WebhookSilence: 24 * time.Hour, Retention: DefaultRetention(),
	}
}

// Config is what a keeper is made of.
type Config struct {
	Bus   *bus.Bus
	Store *postgres.Store
	// Feed tells of changed integrations.
	Feed     *integrations.Feed
	Health   *health.Checker
	SetAside *setaside.Set
	// Circuits are compared with the transitions that were published. Nil compares nothing.
	Circuits *circuit.Circuits
	Log      *slog.Logger
	Metrics  *Metrics
	Now      func() time.Time
	// Crash is called at named points; tests end the process there.
	Crash    func(point string)
	Settings Settings
}

// Keeper does the housekeeping.
type Keeper struct{ Config }

// New returns a keeper.
func New(config Config) *Keeper {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	return &Keeper{config}
}

// Run does the housekeeping until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	every := func(what string, interval time.Duration, step func(context.Context) error) {
		group.Go(func() error { return loop.Every(ctx, k.Log, what, interval, nil, step) })
	}
	every("keep house", k.Settings.Sweep, k.sweep)
	every("look after health", k.Settings.Health, k.Health.Sweep)
	every("look who takes messages", k.Settings.Attended, (&attended{Keeper: k, missing: map[string]time.Time{}}).look)
	every("prune", pruneEvery, k.tend)
	group.Go(func() error { return k.keepDirectory(ctx) })
	return group.Wait()
}

// sweep is for what no event announces.
func (k *Keeper) sweep(ctx context.Context) error {
	return errors.Join(
		k.endOverrides(ctx), k.compareCircuits(ctx), k.markSilent(ctx), k.purgeDeleted(ctx), k.forget(ctx),
		k.measure(ctx), k.SetAside.Measure(ctx),
	)
}

// endOverrides clears the overrides whose time is over.
func (k *Keeper) endOverrides(ctx context.Context) error {
	now := k.Now()
	_, err := setaside.RunBatch(ctx, k.SetAside, setaside.Batch[*postgres.Integration]{
		Kind: setaside.EndOverride, Most: sweepAtATime,
		Name: func(row *postgres.Integration) setaside.Element {
			return setaside.Element{Key: row.ID.String(), Integration: row.ID, About: row.Name}
		},
		Claim: func(
			ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID,
		) ([]*postgres.Integration, error) {
			rows, err := tx.IntegrationOverridesEnded(
				ctx, dbsqlc.IntegrationOverridesEndedParams{Now: now, Without: without, Most: most},
			)
			if err != nil {
				return nil, fmt.Errorf("look for overrides that have ended: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []*postgres.Integration) error {
			for _, row := range rows {
				if err := overrides.End(ctx, tx, row, now); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return err
}

// compareCircuits finds transitions of circuits that were not published.
func (k *Keeper) compareCircuits(ctx context.Context) error {
	if k.Circuits == nil || k.Health == nil {
		return nil
	}
	return k.Health.CompareCircuits(ctx, k.Circuits)
}

// forget gives up on idempotency keys whose requests were never heard of again, and deletes the ids of old commands and
// the settled rows of what was set aside.
func (k *Keeper) forget(ctx context.Context) error {
	now := k.Now()
	var problems []error
	expired, err := k.Store.KeyExpireAll(ctx, now, sweepAtATime)
	if err != nil {
		problems = append(problems, fmt.Errorf("give up on idempotency keys: %w", err))
	}
	if len(expired) > 0 {
		providers := slices.Compact(slices.Sorted(slices.Values(expired)))
		k.Log.Warn(
			"requests with an idempotency key were never heard of again; see: tributary requests keys", "keys",
			len(expired), "providers", providers,
		)
	}
	if _, err := k.Store.CommandForget(ctx, now.Add(-rememberCommands), pruneAtATime); err != nil {
		problems = append(problems, fmt.Errorf("forget old commands: %w", err))
	}
	problems = append(problems, k.SetAside.Forget(ctx, daysBefore(now, k.Settings.Retention.Items)))
	return errors.Join(problems...)
}
