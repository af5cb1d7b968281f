package runs

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// CursorOf is the cursor of a time, from which a run is to start; nil if the integration's own is earlier still. It
// asks the provider.
func (s *Store) CursorOf(integration *postgres.Integration, since time.Time) (contracts.Cursor, error) {
	provider, err := s.Registry.Provider(integration.Provider)
	if err != nil {
		return nil, fmt.Errorf("no scheduler here has provider %q, whose cursor it takes", integration.Provider)
	}
	dater, ok := provider.(contracts.CursorDater)
	if !ok {
		return nil, nil
	}
	from, err := cursorAt(dater, since)
	if err != nil {
		panics.Report(s.Log, err, "provider", integration.Provider)
		return nil, fmt.Errorf("provider %q makes no cursor of the time: %w", integration.Provider, err)
	}
	if integration.SyncCursor == nil {
		return nil, nil
	}
	later, err := advances(provider, integration.SyncCursor, from)
	if err != nil {
		return nil, fmt.Errorf("provider %q can't tell which cursor is earlier: %w", integration.Provider, err)
	}
	if later {
		return nil, nil
	}
	return from, nil
}

// cursorAt asks the provider, whose code may panic, or not return.
func cursorAt(dater contracts.CursorDater, at time.Time) (contracts.Cursor, error) {
	cursor, err := panics.Compute("CursorAt", func() (contracts.Cursor, error) { return dater.CursorAt(at) })
	if err != nil {
		return nil, err
	}
	if cursor, err = contracts.NewCursor(cursor); err != nil || cursor == nil {
		return nil, fmt.Errorf("CursorAt of %s gives no JSON", at)
	}
	return cursor, nil
}

// ResetCursor sets the cursor of a locked integration, and returns the event; nil means no cursor.
func (s *Store) ResetCursor(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, to *string, by string,
	now time.Time,
) (postgres.Outgoing, error) {
	version, err := tx.IntegrationMoveCursor(ctx, dbsqlc.IntegrationMoveCursorParams{
		ID: in.ID, SyncCursor: to, CursorVersion: in.CursorVersion, Now: now,
	})
	if err != nil {
		return postgres.Outgoing{}, fmt.Errorf("reset the cursor: %w", err)
	}
	return cursorEvent(in, "", string(textOf(to)), by, version, now)
}

// advances asks whether a candidate is forward of the current cursor; the provider's code may panic, or not return.
func advances(provider contracts.Provider, current *string, candidate contracts.Cursor) (forward bool, err error) {
	forward, err = panics.Compute("comparing cursors", func() (bool, error) {
		return contracts.Advances(provider, contracts.Cursor(textOf(current)), candidate)
	})
	if err != nil {
		return false, fmt.Errorf("%w: %w", checkpoint.ErrReducer, err)
	}
	return forward, nil
}

func moveCursorTo(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run, to string,
	now time.Time,
) ([]postgres.Outgoing, error) {
	version, err := tx.IntegrationMoveCursor(ctx, dbsqlc.IntegrationMoveCursorParams{
		ID: integration.ID, SyncCursor: &to, CursorVersion: integration.CursorVersion, Now: now,
	})
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("move cursor of %s: %w", integration.ID, err)
	}
	m, err := cursorEvent(integration, run, to, "", version, now)
	return []postgres.Outgoing{m}, err
}

func cursorEvent(integration *postgres.Integration, run, to, by string, version int64, now time.Time) (
	postgres.Outgoing, error,
) {
	from := ""
	if integration.SyncCursor != nil {
		from = *integration.SyncCursor
	}
	return announce.Event(events.CursorMoved, integration, &eventsv1.CursorMoved{
		Integration: announce.Ref(integration), RunId: run, From: from, To: to, Version: version, By: by,
		At: timestamppb.New(now),
	})
}
