package housekeeping

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/setaside"
)

// logsLate is how long after its deletion requests of an integration may still reach the log: far longer than a request
// and the log's queue take.
const logsLate = time.Hour

// purgeRounds bounds the statements of one sweep for one deleted integration.
const purgeRounds = 20

// purgeDeleted deletes the request log of deleted integrations, in pieces, until logsLate has passed.
func (k *Keeper) purgeDeleted(ctx context.Context) error {
	return setaside.Run(ctx, k.SetAside, setaside.Sweep[uuid.UUID]{
		Kind: setaside.PurgeDeleted, Most: sweepAtATime, Step: k.purgeOne,
		// The element belongs to no integration, because that is deleted.
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
