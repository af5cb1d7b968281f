package itemworker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// keyed orders checkpoints as they say.
type keyed struct {
	shop
	held chan struct{}
}

func (k keyed) CheckpointKey(c contracts.Checkpoint) (string, error) {
	switch string(c) {
	case `"hang"`:
		<-k.held
		return "too late", nil
	case `"refuse"`:
		return "", errors.New("no checkpoint")
	}
	return "key of " + string(c), nil
}

func (k keyed) ReduceCheckpoints(c []contracts.Checkpoint) (contracts.Cursor, error) {
	return k.shop.ReduceCheckpoints(c)
}

func (keyed) ReducesAssociatively() {}

// TestRecordsOfAHangingOrder stores what else is in the batch.
func TestRecordsOfAHangingOrder(t *testing.T) {
	t.Parallel()
	provider := keyed{held: make(chan struct{})}
	t.Cleanup(func() { close(provider.held) })
	w := newWorld(t, obey, func(c *platform.Config) {
		patientBackoff(c)
		c.Providers["shop"], c.ItemWorker.AskTimeout = provider, 3*time.Second
	})
	w.start(t)
	batch := with(w.open(t, 1), "1", "2", "3", "4")
	for i, says := range []string{"1", `"hang"`, `"refuse"`, "4"} {
		batch.Items[i].EventType, batch.Items[i].Checkpoint = "thing", []byte(says)
	}
	w.send(t, batch)
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done, 1: retrying, 2: dead, 3: done})
	w.wantReceipts(t, batch, 0, 3)
	var stored int
	w.scan(t, "select count(*) from records where integration_id = $1", batch.GetIntegrationId(), &stored)
	if stored != 2 {
		t.Errorf("%d records are stored, want 2", stored)
	}
}
