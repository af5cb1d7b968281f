package webhookwork_test

import (
	"context"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/webhookwork"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// shop is a provider whose checkpoints are numbers.
type shop struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.MaxNumber
}

func (shop) Name() string { return "Shop" }

func (shop) DefaultSyncInterval() time.Duration { return time.Hour }

func (shop) DefaultRateLimit() *contracts.RateLimit { return nil }

func (shop) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

// dated is a shop whose checkpoints are times.
type dated struct {
	shop
	contracts.MaxTime
}

func (dated) ReduceCheckpoints(c []contracts.Checkpoint) (contracts.Cursor, error) {
	return contracts.MaxTime{}.ReduceCheckpoints(c)
}

// TestCheckpointsOfWebhooks handles a webhook two days after it was received. Its record was fetched only now, so that
// its checkpoint is later than the webhook, and good.
func TestCheckpointsOfWebhooks(t *testing.T) {
	t.Parallel()
	received := time.Now().Add(-48 * time.Hour)
	fresh := `"` + time.Now().UTC().Format(time.RFC3339) + `"`
	if got := webhookwork.CheckedCheckpoint(dated{}, fresh, received); got != fresh {
		t.Errorf("the checkpoint of a record that has just changed is %q, want it kept", got)
	}
	if got := webhookwork.CheckedCheckpoint(dated{}, `"9999-12-31T00:00:00Z"`, received); got != "" {
		t.Errorf("a checkpoint in the distant future is kept as %q", got)
	}
	if got := webhookwork.CheckedCheckpoint(shop{}, "7", received); got != "7" {
		t.Errorf("the checkpoint of a provider that takes any is %q", got)
	}
}
