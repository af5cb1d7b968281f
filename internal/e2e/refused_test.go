package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// talkative is feed with an enumeration that fails with a page of its upstream as the error's text.
type talkative struct{ feed }

func (talkative) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return errors.New(strings.Repeat("<p>no</p>\x00", 2<<20/10))
}

func (t talkative) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return t.Sync(ctx, in, session)
}

// boastful is hooked with a handler whose result Postgres refuses: a number beyond what it holds.
type boastful struct{ hooked }

func (boastful) HandleWebhook(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	if _, err := (hooked{}).HandleWebhook(ctx, in, req); err != nil {
		return nil, err
	}
	return json.RawMessage(`{"count":1e999999}`), nil
}

// TestErrorsOfAnySize has the enumeration of one integration fail with 2 MiB of text: its run waits with the text cut, and another integration is synced meanwhile.
func TestErrorsOfAnySize(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(10)
	w.startAll()
	talks := w.create("talks", "talkative")
	w.await("the run to have failed once", func() bool { runs := w.runs(talks); return len(runs) == 1 && runs[0].Error != "" })
	if text := w.runs(talks)[0].Error; len(text) > 4<<10 {
		t.Errorf("the run keeps %d bytes of the error", len(text))
	}
	other := w.create("other", "feed")
	w.wantRun(w.awaitClosed(other, 1), "succeeded", 10, 0)
	w.await("an empty outbox", func() bool {
		_, err := w.store.OutboxLag(t.Context())
		return postgres.NotFound(err)
	})
}

// TestWebhookWhoseResultIsRefused has Postgres refuse what handlers return: the deliveries are settled, each handled once, and say that their results are lost.
func TestWebhookWhoseResultIsRefused(t *testing.T) {
	w := newSteadyWorld(t)
	w.start("scheduler")
	w.start("item-worker")
	in := w.startIngress()
	id := w.createHooked("boastful")
	const deliveries = 3
	for n := range deliveries {
		record := fmt.Sprint("r", n)
		if !w.pushUntilTaken(in.url+"/integrations/boastful/one/webhook", record, entry{ID: record, Seq: int64(n + 1)}) {
			t.Fatalf("%s was not taken", record)
		}
	}
	w.awaitWebhooks(id, "processed", deliveries)
	for n := range deliveries {
		if handled := w.count(fmt.Sprint("r", n), "ok"); handled != 1 {
			t.Errorf("r%d was handled %d times, want once", n, handled)
		}
	}
	var said int
	err := w.pool.QueryRow(t.Context(), `select count(*) from webhooks where integration_id = $1 and result is null
		and reason = 'what the handler returned could not be kept'`, id).Scan(&said)
	if err != nil || said != deliveries {
		t.Errorf("%d deliveries say that their results are lost, %v", said, err)
	}
}

// TestLimitOfMessagesIsLowered reloads NATS with a lower limit in the middle of a sync whose batches and retries are larger: no process ends, no item is lost, and the run takes no try for it.
func TestLimitOfMessagesIsLowered(t *testing.T) {
	w := newSteadyWorld(t)
	const records = 4 * pageSize
	for n := range records {
		w.put(fmt.Sprint("r", n), strings.Repeat("x", 4000))
	}
	var reached atomic.Bool
	hold, retry := w.gate(), w.gate()
	w.setOnPage(func(after int64, _ int) int {
		if after >= 2*pageSize {
			reached.Store(true)
			hold.wait()
		}
		return 0
	})
	var asked atomic.Int64
	w.setJudge(func(h handled) verdict {
		if h.Try > 1 {
			return verdict{}
		}
		asked.Add(1)
		retry.wait()
		return verdict{Do: "fail"}
	})
	processes := w.startAll()
	id := w.create("one", "feed")
	w.await("the third page and the first handlers", func() bool { return reached.Load() && asked.Load() > 0 })
	w.nats.SetMaxPayload(64 << 10)
	hold.open()
	retry.open()
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", records, 0)
	w.wantCursor(id, fmt.Sprint(records))
	if run.Tries > 1 {
		t.Errorf("the run took %d tries", run.Tries)
	}
	for _, p := range processes {
		select {
		case <-p.ended:
			t.Errorf("%s ended: %s", p.name, p.output.tail())
		default:
		}
	}
}
