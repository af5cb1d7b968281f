package runs

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// logEnd writes a run's end to the business log and returns the event that tells of it.
func logEnd(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run, now time.Time) (
	postgres.Outgoing, error,
) {
	err := tx.LogOperations(ctx, postgres.Operation{
		Integration: integration.ID, Operation: "sync", Status: string(run.State), Subject: run.ID.String(),
		Error: run.Error, Started: run.CreatedAt, Ended: now,
		Summary: foreign.Line(fmt.Sprintf("%s sync: %d items, %d done, %d dead, %d skipped", run.Mode, run.Items,
			run.Done, run.Dead, run.Skipped)),
	})
	if err != nil {
		return postgres.Outgoing{}, err
	}
	return runEvent(integration, run, now)
}

// runEvent is the event of a run's end.
func runEvent(integration *postgres.Integration, run *postgres.Run, now time.Time) (postgres.Outgoing, error) {
	summary := &eventsv1.RunSummary{
		Integration: announce.Ref(integration), RunId: run.ID.String(), Mode: string(run.Mode),
		State: string(run.State), Attempt: run.Attempts, Items: run.Items, Done: run.Done,
		Dead: run.Dead, Skipped: run.Skipped, Duplicates: run.Duplicates, Error: run.Error.String(),
		StartedAt: timestamppb.New(run.CreatedAt), ClosedAt: timestamppb.New(now),
	}
	switch run.State {
	case runstate.Succeeded:
		return announce.Event(events.RunCompleted, integration, &eventsv1.RunCompleted{Run: summary})
	case runstate.Partial:
		return announce.Event(events.RunPartial, integration, &eventsv1.RunPartial{Run: summary})
	default:
		return announce.Event(events.RunFailed, integration, &eventsv1.RunFailed{Run: summary})
	}
}
