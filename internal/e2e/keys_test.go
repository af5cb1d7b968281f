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
			if diff := cmp.Diff(map[string]int{"r1": 1, "r2": 1, "r3": 1}, counted(w.effects.Done())); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
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
			w.wantRun(w.awaitClosed(id, 1), "failed", 1, 1)
			<-crashed
			dead := w.dead(id)[0]
			if !strings.Contains(dead.Error.String(), "unknown whether") {
				t.Errorf("the item is dead for %q", dead.Error)
			}
			found, want := "failed", 0
			if point == "outbound: answer received" {
				found, want = "succeeded", 1
			}
			if n := len(w.effects.Done()); n != want {
				t.Errorf("%d effects before somebody has looked, want %d", n, want)
			}
			resolved, err := w.store.KeyResolve(t.Context(), dbsqlc.KeyResolveParams{
				IntegrationID: id, Key: "order " + dead.ExternalID, State: found, ResolvedBy: "test", Now: time.Now(),
			})
			if err != nil || len(resolved) != 1 {
				t.Fatalf("resolved %v, %v", resolved, err)
			}
			w.command(events.VerbRetry, "one", `{"item":"`+dead.ID.String()+`"}`)
			w.await("the item to be done", func() bool { return w.cursor(id) == "1" })
			if diff := cmp.Diff(map[string]int{"r1": 1}, counted(w.effects.Done())); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
		})
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

func counted(texts []string) map[string]int {
	counts := map[string]int{}
	for _, text := range texts {
		counts[text]++
	}
	return counts
}
