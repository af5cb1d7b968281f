package health

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Open opens an incident of the whole installation. A second call with the same id changes nothing. It stays open until an operator resolves it, because no process can know
// whether what was lost is made good.
func Open(ctx context.Context, tx *postgres.Tx, id uuid.UUID, s Signal, at time.Time) error {
	opened, err := tx.IncidentInsert(ctx, dbsqlc.IncidentInsertParams{ID: id, Source: string(s.Source), Severity: s.Severity, Reason: s.Reason, OpenedAt: at})
	if err != nil {
		return fmt.Errorf("open incident %s: %w", id, err)
	}
	if opened == 0 {
		return nil
	}
	err = tx.IncidentSignalInsert(ctx, dbsqlc.IncidentSignalInsertParams{
		ID: postgres.NewID(), IncidentID: id, Source: string(s.Source), Severity: s.Severity, Reason: s.Reason, Now: at,
	})
	if err != nil {
		return fmt.Errorf("note a signal of incident %s: %w", id, err)
	}
	return announce.Publish(ctx, tx, at, events.IncidentOpened, nil, &eventsv1.IncidentOpened{
		IncidentId: id.String(), Source: string(s.Source), Severity: s.Severity, Reason: s.Reason.String(), At: timestamppb.New(at),
	})
}

// Resolve closes an open incident of the whole installation, with the reason in its timeline. False says that no such incident is open.
func Resolve(ctx context.Context, tx *postgres.Tx, id uuid.UUID, reason foreign.Text, now time.Time) (bool, error) {
	row, err := tx.IncidentResolve(ctx, now, id)
	if postgres.NotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("resolve incident %s: %w", id, err)
	}
	err = tx.IncidentSignalInsert(ctx, dbsqlc.IncidentSignalInsertParams{ID: postgres.NewID(), IncidentID: id, Source: row.Source, Reason: reason, Now: now})
	if err != nil {
		return false, fmt.Errorf("note the end of incident %s: %w", id, err)
	}
	return true, announce.Publish(ctx, tx, now, events.IncidentClosed, nil, &eventsv1.IncidentClosed{
		IncidentId: id.String(), Source: row.Source, PeakSeverity: row.PeakSeverity, Reason: row.Reason.String(),
		OpenedAt: timestamppb.New(row.OpenedAt), ClosedAt: timestamppb.New(now),
	})
}
