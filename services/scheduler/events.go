package scheduler

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func ref(integration *postgres.Integration) *eventsv1.Ref {
	return events.NewRef(integration.ID.String(), integration.Provider, integration.Name, integration.Owner)
}

func event(name events.Name, integration *postgres.Integration, m proto.Message) (postgres.Outgoing, error) {
	encoded, err := events.NewEvent(name, integration.Provider, integration.ID.String(), "", m)
	return postgres.Outgoing(encoded), err
}

// logEnd writes a run's end to the business log and returns the event that tells of it.
func logEnd(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run, now time.Time) (postgres.Outgoing, error) {
	err := tx.LogOperations(ctx, postgres.Operation{
		Integration: integration.ID, Operation: "sync", Status: string(run.State), Subject: run.ID.String(), Error: run.Error, Started: run.CreatedAt, Ended: now,
		Summary: foreign.Line(fmt.Sprintf("%s sync: %d items, %d done, %d dead, %d skipped", run.Mode, run.Items, run.Done, run.Dead, run.Skipped)),
	})
	if err != nil {
		return postgres.Outgoing{}, err
	}
	return runEvent(integration, run, now)
}

// runEvent is the event of a run's end.
func runEvent(integration *postgres.Integration, run *postgres.Run, now time.Time) (postgres.Outgoing, error) {
	summary := &eventsv1.RunSummary{
		Integration: ref(integration), RunId: run.ID.String(), Mode: string(run.Mode), State: string(run.State), Attempt: run.Attempts, Items: run.Items, Done: run.Done,
		Dead: run.Dead, Skipped: run.Skipped, Duplicates: run.Duplicates, Error: run.Error.String(),
		StartedAt: timestamppb.New(run.CreatedAt), ClosedAt: timestamppb.New(now),
	}
	switch run.State {
	case runstate.Succeeded:
		return event(events.RunCompleted, integration, &eventsv1.RunCompleted{Run: summary})
	case runstate.Partial:
		return event(events.RunPartial, integration, &eventsv1.RunPartial{Run: summary})
	default:
		return event(events.RunFailed, integration, &eventsv1.RunFailed{Run: summary})
	}
}

func cursorEvent(integration *postgres.Integration, run, to, by string, version int64, now time.Time) (postgres.Outgoing, error) {
	from := ""
	if integration.SyncCursor != nil {
		from = *integration.SyncCursor
	}
	return event(events.CursorMoved, integration, &eventsv1.CursorMoved{
		Integration: ref(integration), RunId: run, From: from, To: to, Version: version, By: by, At: timestamppb.New(now),
	})
}
