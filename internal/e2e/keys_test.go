package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// kiosk is feed with an upstream that knows no idempotency keys; shopWithKeys is one whose upstream does. Their handler orders something.
type kiosk struct{ feed }

func (kiosk) Name() string { return "Kiosk" }

type shopWithKeys struct{ feed }

func (shopWithKeys) Name() string         { return "Shop" }
func (shopWithKeys) SupportsIdempotency() {}

// placeOrder has an effect at the upstream, once for each record. What somebody found to be done is done.
func placeOrder(ctx context.Context, in *contracts.Integration, e entry) error {
	metadata, err := contracts.MetadataOf[feedMetadata](in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if ctx, err = contracts.WithIdempotencyKey(ctx, "order "+e.ID); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, metadata.URL+"/effects", strings.NewReader(e.ID))
	if err != nil {
		return err
	}
	resp, err := in.HTTP().Do(req)
	if conflict, ok := errors.AsType[*contracts.IdempotencyConflictError](err); ok && conflict.State == contracts.IdempotencySucceeded {
		return nil
	}
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("the upstream answers %d", resp.StatusCode)
	}
	return nil
}

// keyCrashes are the points between which a request with a key is at the upstream.
func keyCrashes() []string {
	return []string{"outbound: key reserved", "outbound: shadow written", "outbound: answer received"}
}

// Where the upstream recognises keys, a request whose process died is sent again and has its effect once.
func TestCrashWithAKeyThatIsRecognised(t *testing.T) {
	for _, point := range keyCrashes() {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t)
			w.fill(3)
			crashed := w.startToCrash(point)
			id := w.create("one", "shop")
			w.wantRun(w.awaitClosed(id, 1), "succeeded", 3, 0)
			<-crashed
			w.wantOrders("r1", "r2", "r3")
		})
	}
}

// Where it does not, nobody sends the request again before somebody has looked; then it is done, or done again, as was found.
func TestCrashWithAKeyThatIsNot(t *testing.T) {
	for _, point := range keyCrashes() {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t)
			// One record: others would have been under way, too.
			w.fill(1)
			crashed := w.startToCrash(point)
			id := w.create("one", "kiosk")
			<-crashed
			w.resolveKey(id, point)
			w.wantOrders("r1")
		})
	}
}

// resolveKey waits until a record is dead because nobody knows what came of its request, of which a process died at
// a point. Then an operator finds it out, and has the record handled again.
func (w *world) resolveKey(id uuid.UUID, point string) {
	w.t.Helper()
	w.wantRun(w.awaitClosed(id, 1), "failed", 1, 1)
	dead := w.dead(id)[0]
	if !strings.Contains(dead.Error.String(), "unknown whether") {
		w.t.Errorf("the item is dead for %q", dead.Error)
	}
	found, want := "failed", 0
	if point == "outbound: answer received" {
		found, want = "succeeded", 1
	}
	if n := len(w.effects.Done()); n != want {
		w.t.Errorf("%d effects before an operator has looked, want %d", n, want)
	}
	resolved, err := w.store.KeyResolve(w.t.Context(), dbsqlc.KeyResolveParams{
		IntegrationID: id, Key: "order " + dead.ExternalID, State: found, ResolvedBy: "test", Now: time.Now(),
	})
	if err != nil || len(resolved) != 1 {
		w.t.Fatalf("resolved %v, %v", resolved, err)
	}
	w.command(events.VerbRetry, "one", `{"item":"`+dead.ID.String()+`"}`)
	w.await("the item to be done", func() bool { return w.cursor(id) == "1" })
}

// wantOrders has the upstream have done exactly one order for each record.
func (w *world) wantOrders(records ...string) {
	w.t.Helper()
	want, got := map[string]int{}, map[string]int{}
	for _, id := range records {
		want[id] = 1
	}
	for _, text := range w.effects.Done() {
		got[text]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// startToCrash starts all services, of which the item-worker dies at a point and another takes over.
func (w *world) startToCrash(point string) <-chan struct{} {
	w.t.Helper()
	w.start("scheduler")
	w.start("syncer")
	worker := w.start("item-worker", "TRIBUTARY_CRASH_AT="+point)
	crashed := make(chan struct{})
	go w.takeOver([]*process{worker}, "item-worker", crashed)
	return crashed
}
