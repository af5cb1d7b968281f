package commands

import (
	"context"
	"fmt"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// recover closes a gap: it starts an incremental sync from an earlier time. The cursor does not move back.
func (e *Executor) recover(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	if in.Status != "active" {
		return nil, reject("the integration is %s: %s", in.Status, orNone(in.StatusReason))
	}
	since := timeOf(c.GetSince())
	if since == nil || since.After(e.Now()) {
		return nil, reject("since is not a time in the past")
	}
	if provider, err := e.Registry.Provider(in.Provider); err == nil {
		if !canRecover(provider) {
			return nil, reject(
				"provider %q has no incremental sync from a time (contracts.IncrementalSync and "+
					"contracts.CursorDater); a full sync closes every gap",
				in.Provider,
			)
		}
	}
	open, err := tx.RunLockOpen(ctx, in.ID)
	if err == nil {
		// When the run closes, the sync follows from the earliest time that was asked for.
		if err := tx.RunFollowUpSince(ctx, *since, open.ID); err != nil {
			return nil, fmt.Errorf("remember the sync: %w", err)
		}
		return &reply{result: "queued-behind", run: &open.ID}, nil
	}
	if !postgres.NotFound(err) {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	from, err := e.Runs.CursorOf(in, *since)
	if err != nil {
		return nil, reject("%s", foreign.Of(err))
	}
	return e.open(ctx, tx, in, runstate.Incremental, from)
}

func canRecover(provider contracts.Provider) bool {
	_, incremental := provider.(contracts.IncrementalSync)
	_, dates := provider.(contracts.CursorDater)
	return incremental && dates
}
