package housekeeping

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/setaside"
)

// logsLate is how long after the deletion of an integration a process may still log a request of its: far longer than a request and the log's queue take.
const logsLate = time.Hour

// purgeRounds bounds the statements that one sweep spends on one deleted integration.
const purgeRounds = 20

// purgeDeleted removes the request log of integrations that were deleted, in pieces. They are looked at until nothing more can come.
func (k *Keeper) purgeDeleted(ctx context.Context) error {
	return setaside.Run(ctx, k.SetAside, setaside.Sweep[uuid.UUID]{
		Kind: setaside.PurgeDeleted, Most: sweepAtATime, Step: k.purgeOne,
		// The integration is gone, so that the element belongs to none.
		Name: func(id uuid.UUID) setaside.Element { return setaside.Element{Key: id.String()} },
		List: func(ctx context.Context, most int32) ([]uuid.UUID, error) {
			ids, err := k.Store.DeletedIntegrations(ctx, most)
			if err != nil {
				return nil, fmt.Errorf("list deleted integrations: %w", err)
			}
			return ids, nil
		},
	})
}

func (k *Keeper) purgeOne(ctx context.Context, id uuid.UUID) error {
	for deleted, round := int64(pruneAtATime), 0; deleted == pruneAtATime; round++ {
		if round == purgeRounds {
			return setaside.ErrLeft // the next sweep goes on
		}
		var err error
		if deleted, err = k.Store.RequestDeleteOf(ctx, id, pruneAtATime); err != nil {
			return fmt.Errorf("delete the requests of a deleted integration: %w", err)
		}
	}
	if err := k.Store.DeletedIntegrationDone(ctx, id, k.Now().Add(-logsLate)); err != nil {
		return fmt.Errorf("forget a deleted integration: %w", err)
	}
	return nil
}
