package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Source is what knows that an integration is in trouble.
type Source string

// The sources. An incident is closed when none of them says any more that something is wrong.
const (
	// SourceHealth are the requests; see [Keeper].
	SourceHealth Source = "health"
	// SourceCircuit is the circuit, which is open.
	SourceCircuit Source = "circuit"
	// SourceSync is the scheduler, which has seen no clean sync for too long.
	SourceSync Source = "sync"
	// SourceToken is a token that can't be renewed.
	SourceToken Source = "token"
	// SourceDatabase is a Postgres that went back to an earlier state: of an integration, a run whose records it has
	// forgotten.
	SourceDatabase Source = "database"
	// SourceNATS is a NATS that went back to an earlier state.
	SourceNATS Source = "nats"
	// SourceProvider is the provider's code or the application's, which breaks a rule or needs more requests than a
	// window of its budget has: runs that end well clear it.
	SourceProvider Source = "provider"
)

// Signal is a sign of trouble.
type Signal struct {
	Source Source
	// Severity is [Degraded], [Failing] or [Disabled]. An open circuit and a stale sync are failing.
	Severity string
	// Reason is a line for people, without secrets.
	Reason foreign.Text
}

// Raise notes a sign of trouble: it opens an incident, or adds to the one that is open. A source may say the same
// again, which changes nothing. The caller has locked the integration, and commits the change that caused the signal in
// the same transaction.
func Raise(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, s Signal, now time.Time) error {
	row, err := tx.IncidentRaise(ctx, dbsqlc.IncidentRaiseParams{
		ID: postgres.NewID(), IntegrationID: in.ID, Source: string(s.Source), Severity: s.Severity, Reason: s.Reason,
		Now: now,
	})
	if err != nil {
		return fmt.Errorf("raise an incident of %s: %w", in.ID, err)
	}
	err = tx.IncidentSignalInsert(ctx, dbsqlc.IncidentSignalInsertParams{
		ID: postgres.NewID(), IncidentID: row.ID, Source: string(s.Source), Severity: s.Severity, Reason: s.Reason,
		Now: now,
	})
	if err != nil {
		return fmt.Errorf("note a signal of %s: %w", in.ID, err)
	}
	if !row.Opened {
		return nil
	}
	return announce.Publish(ctx, tx, now, events.IncidentOpened, in, &eventsv1.IncidentOpened{
		Integration: announce.Ref(in), IncidentId: row.ID.String(), Source: string(s.Source), Severity: s.Severity,
		Reason: s.Reason.String(), At: timestamppb.New(now),
	})
}

// Clear notes that a source sees no trouble any more, and closes the incident if it was the last that did. A source
// that had raised nothing changes nothing. The caller has locked the integration, as for [Raise].
func Clear(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, source Source, reason foreign.Text,
	now time.Time,
) error {
	rows, err := tx.IncidentClear(ctx, dbsqlc.IncidentClearParams{
		IntegrationID: in.ID, Source: string(source),
		Now: now,
	})
	if err != nil {
		return fmt.Errorf("clear an incident of %s: %w", in.ID, err)
	}
	for _, row := range rows {
		err := tx.IncidentSignalInsert(ctx, dbsqlc.IncidentSignalInsertParams{
			ID: postgres.NewID(), IncidentID: row.ID, Source: string(source), Reason: reason, Now: now,
		})
		if err != nil {
			return fmt.Errorf("note a signal of %s: %w", in.ID, err)
		}
		if row.ClosedAt == nil {
			continue
		}
		err = announce.Publish(ctx, tx, now, events.IncidentClosed, in, &eventsv1.IncidentClosed{
			Integration: announce.Ref(in), IncidentId: row.ID.String(), Source: row.Source,
			PeakSeverity: row.PeakSeverity, Reason: row.Reason.String(),
			OpenedAt: timestamppb.New(row.OpenedAt), ClosedAt: timestamppb.New(now),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// closeForgotten closes incidents of which nothing was heard for long, though the integration is healthy and not stale:
// whoever raised them was lost before it could say that all is well.
func (k *Keeper) closeForgotten(ctx context.Context, atATime int) error {
	now := k.Now()
	ids, err := k.Store.IncidentForgotten(ctx, now.Add(-k.Settings.Forgotten), int32(atATime))
	if err != nil {
		return fmt.Errorf("look for forgotten incidents: %w", err)
	}
	var problems []error
	for _, id := range ids {
		err := k.Store.InTx(ctx, func(tx *postgres.Tx) error {
			in, err := tx.IntegrationLock(ctx, id)
			if postgres.NotFound(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("lock integration %s: %w", id, err)
			}
			if in.Health != Healthy || in.StaleSince != nil || in.Status == "reauth-required" {
				return nil
			}
			open, err := tx.IncidentGetOpen(ctx, id)
			if postgres.NotFound(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read the open incident of %s: %w", id, err)
			}
			for _, source := range open.Raised {
				if err := Clear(ctx, tx, in, Source(source), "nothing was heard of it for long", now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
