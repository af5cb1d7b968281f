// Package health keeps how integrations fare: their health as requests and probes tell it, the incidents in which it is
// bad, and the share of requests that fails. Every transition is one statement and is committed with its incident and
// its events, so that none is lost and none is told twice. The outbound chain reports to it, the scheduler probes and
// commands through it, and whoever else knows of trouble raises it in an incident.
package health

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// The states of health, from good to bad.
const (
	Healthy  = "healthy"
	Degraded = "degraded"
	Failing  = "failing"
	// Disabled comes with the status of that name: nothing is asked of the upstream any more, but whether it is back.
	Disabled = "disabled"
)

// Settings are the numbers that health goes by; [DefaultSettings] has the original's, where it has any.
type Settings struct {
	// DegradedAfter, FailingAfter and DisabledAfter are how many attempts in a row an upstream fails before it is
	// called that. DisabledAfter 0 never disables.
	DegradedAfter, FailingAfter, DisabledAfter int
	// DisabledFor is how long the failures must have gone on besides. Workers ask in parallel, so that a pause of one
	// second at an upstream can make fifty failures in a row.
	DisabledFor time.Duration
	// RecoveredAfter is how many successes in a row make healthy again. One alone, between failures, is what a flapping
	// upstream gives; three come within one sync.
	RecoveredAfter int
	// SlowDegraded and SlowFailing are how many intervals lie between the syncs of an integration in that state.
	SlowDegraded, SlowFailing int
	// FirstProbe is how long after a transition the upstream is asked how it is. The wait doubles from probe to probe,
	// up to LongestProbe.
	FirstProbe, LongestProbe time.Duration
	// Idle is after how long without a clean sync a healthy upstream is asked, and how often from there on.
	Idle time.Duration
	// Window is what the share of failed requests is taken of; fewer than LeastRequests in it say nothing. It is
	// elevated from ElevatedPercent on and has recovered below RecoveredPercent: the gap keeps one that wavers from
	// being told again and again.
	Window                            time.Duration
	LeastRequests                     int
	ElevatedPercent, RecoveredPercent int
	// Forgotten is after how long an open incident that hears no more, though the database knows of no trouble, is
	// closed.
	Forgotten time.Duration
}

// DefaultSettings are the original's limits, and sensible ones where it has none.
func DefaultSettings() Settings {
	return Settings{
		DegradedAfter: 5, FailingAfter: 20, DisabledAfter: 50, DisabledFor: 10 * time.Minute, RecoveredAfter: 3,
		SlowDegraded: 2, SlowFailing: 10,
		FirstProbe: 5 * time.Minute, LongestProbe: 6 * time.Hour, Idle: time.Hour,
		Window: 15 * time.Minute, LeastRequests: 20, ElevatedPercent: 25, RecoveredPercent: 20,
		Forgotten: 7 * 24 * time.Hour,
	}
}

// Keeper keeps the health of all integrations in the database. It is an [vitals.Store].
type Keeper struct {
	Store    *postgres.Store
	Log      *slog.Logger
	Now      func() time.Time
	Settings Settings
}

// Slowed is how many intervals lie between the syncs of an integration of some health.
func (k *Keeper) Slowed(health string) int {
	switch health {
	case Degraded:
		return k.Settings.SlowDegraded
	case Failing:
		return k.Settings.SlowFailing
	}
	return 1
}

// ReportHealth moves integrations on by what their requests came to: in one statement, and with their events and
// incidents in one transaction. It returns the reports that are to be made again; see [oneByOne].
func (k *Keeper) ReportHealth(ctx context.Context, reports []vitals.Report) ([]vitals.Report, error) {
	return oneByOne(ctx, k.Log, "what the requests of integrations came to", reports, k.reportHealth)
}

func (k *Keeper) reportHealth(ctx context.Context, reports []vitals.Report) error {
	now := k.Now()
	p := dbsqlc.HealthReportParams{
		Now: now, DegradedAfter: int32(k.Settings.DegradedAfter), FailingAfter: int32(k.Settings.FailingAfter),
		DisabledFor:    k.Settings.DisabledFor,
		RecoveredAfter: int32(k.Settings.RecoveredAfter), Idle: k.Settings.Idle, First: k.Settings.FirstProbe,
	}
	if k.Settings.DisabledAfter > 0 {
		after := int32(k.Settings.DisabledAfter)
		p.DisabledAfter = &after
	}
	for _, r := range reports {
		id, err := uuid.Parse(r.Integration)
		if err != nil {
			continue
		}
		p.Ids, p.Failed, p.Answered = append(p.Ids, id), append(p.Failed, r.Failed), append(p.Answered, r.Answered)
		p.Failures, p.Refusals = append(p.Failures, int32(r.Failures)), append(p.Refusals, int32(r.Refusals))
		p.Successes, p.Errors = append(p.Successes, int32(r.Successes)), append(p.Errors, r.Error)
	}
	return k.Store.InTx(ctx, func(tx *postgres.Tx) error {
		rows, err := tx.HealthReport(ctx, p)
		if err != nil {
			return fmt.Errorf("report health: %w", err)
		}
		for _, row := range rows {
			if row.Integration.Health == row.Before {
				continue
			}
			if err := k.moved(ctx, tx, &row.Integration, row.Before, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// moved does what a transition means: a disabled integration stops, the incident opens or closes, events tell.
func (k *Keeper) moved(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, from string,
	now time.Time,
) error {
	if in.Health == Disabled {
		_, err := tx.IntegrationSetStatus(ctx, dbsqlc.IntegrationSetStatusParams{
			ID: in.ID, Status: "disabled",
			Reason: in.HealthReason, Now: now,
		})
		if err != nil {
			return fmt.Errorf("disable %s: %w", in.ID, err)
		}
		told := &eventsv1.IntegrationDisabled{
			Integration: announce.Ref(in), Reason: in.HealthReason.String(),
			At: timestamppb.New(now),
		}
		if err := announce.Publish(ctx, tx, now, events.IntegrationDisabled, in, told); err != nil {
			return err
		}
	}
	err := announce.Publish(ctx, tx, now, events.IntegrationHealthChanged, in, &eventsv1.IntegrationHealthChanged{
		Integration: announce.Ref(in), From: from, To: in.Health, Reason: in.HealthReason.String(),
		ConsecutiveFailures: in.ConsecutiveFailures, At: timestamppb.New(now),
	})
	if err != nil {
		return err
	}
	if in.Health == Healthy {
		k.Log.Info("integration is healthy again", "integration", in.Name, "provider", in.Provider)
		return Clear(ctx, tx, in, SourceHealth, "the upstream answers again", now)
	}
	k.Log.Warn("integration is "+in.Health, "integration", in.Name, "provider", in.Provider, "reason", in.HealthReason)
	return Raise(ctx, tx, in, Signal{Source: SourceHealth, Severity: in.Health, Reason: in.HealthReason}, now)
}

// Enable makes an integration, which the caller has locked, active and healthy, whatever its health is.
func (k *Keeper) Enable(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, reason, by foreign.Text,
	now time.Time,
) error {
	enabled,
		err := tx.HealthEnable(ctx, dbsqlc.HealthEnableParams{ID: in.ID, Now: now, ProbeAt: now.Add(k.Settings.Idle)})
	if err != nil {
		return fmt.Errorf("enable %s: %w", in.ID, err)
	}
	if in.Status == "disabled" {
		told := &eventsv1.IntegrationEnabled{
			Integration: announce.Ref(in), Reason: reason.String(), By: by.String(),
			At: timestamppb.New(now),
		}
		if err := announce.Publish(ctx, tx, now, events.IntegrationEnabled, in, told); err != nil {
			return err
		}
	}
	if in.Health == Healthy {
		return nil
	}
	return k.moved(ctx, tx, enabled, in.Health, now)
}

// TryAgain lets a disabled integration prove itself: it is active and failing, one more failure disables it again, and
// some successes make it healthy. It does nothing for one that is not disabled any more.
func (k *Keeper) TryAgain(ctx context.Context, id uuid.UUID, reason foreign.Text) error {
	now := k.Now()
	return k.Store.InTx(ctx, func(tx *postgres.Tx) error {
		in, err := tx.HealthTryAgain(ctx, dbsqlc.HealthTryAgainParams{
			ID: id, Reason: reason, Now: now,
			MostFailures: int32(max(k.Settings.DisabledAfter-1, 0)),
		})
		if postgres.NotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("let %s try again: %w", id, err)
		}
		told := &eventsv1.IntegrationEnabled{
			Integration: announce.Ref(in), Reason: reason.String(),
			At: timestamppb.New(now),
		}
		if err := announce.Publish(ctx, tx, now, events.IntegrationEnabled, in, told); err != nil {
			return err
		}
		return k.moved(ctx, tx, in, Disabled, now)
	})
}

// CountRequests adds to the counters of requests. It returns the counts that are to be added again; see [oneByOne].
func (k *Keeper) CountRequests(ctx context.Context, counts []vitals.Count) ([]vitals.Count, error) {
	return oneByOne(ctx, k.Log, "counts of requests", counts, k.countRequests)
}

func (k *Keeper) countRequests(ctx context.Context, counts []vitals.Count) error {
	var p dbsqlc.RequestCountAddParams
	for _, c := range counts {
		id, err := uuid.Parse(c.Integration)
		if err != nil {
			continue
		}
		p.Ids, p.Ats, p.Succeeded = append(p.Ids, id), append(p.Ats, c.Minute), append(p.Succeeded, c.Succeeded)
		p.Upstream, p.Throttle, p.Client = append(p.Upstream, c.Upstream), append(p.Throttle, c.Throttle),
			append(p.Client, c.Client)
		p.Unknown, p.Cached, p.DurationsMs = append(p.Unknown, c.Unknown), append(p.Cached, c.Cached),
			append(p.DurationsMs, c.Took.Milliseconds())
	}
	return k.Store.InTx(ctx, func(tx *postgres.Tx) error {
		if err := tx.RequestCountAdd(ctx, p); err != nil {
			return fmt.Errorf("count requests: %w", err)
		}
		return nil
	})
}
