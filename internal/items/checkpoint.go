package items

import (
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// DropOddCheckpoint takes the checkpoint off an item if its provider says that it must not count, and returns why. The checker is nil for a provider that takes any.
func DropOddCheckpoint(checker contracts.CheckpointChecker, item *eventsv1.Item, now time.Time) error {
	if checker == nil || len(item.GetCheckpoint()) == 0 {
		return nil
	}
	err := check(checker, item.GetCheckpoint(), now)
	if err != nil {
		item.Checkpoint = nil
	}
	return err
}

func check(checker contracts.CheckpointChecker, checkpoint []byte, now time.Time) (err error) {
	defer panics.Catch(&err, "the check of a checkpoint")
	return checker.CheckCheckpoint(checkpoint, now)
}
