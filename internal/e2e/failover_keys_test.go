package e2e_test

import (
	"os"
	"testing"
)

// TestFailoverKey promotes a standby that lacks an idempotency key whose request was sent.
func TestFailoverKey(t *testing.T) {
	keyRound(t, "kiosk", "outbound: answer received", promotion)
}

// TestProveFailoverKeys has an item-worker die at each point of a request with an idempotency key, and each store go
// back to what it was when the run had begun.
func TestProveFailoverKeys(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	for _, provider := range []string{"kiosk", "shop"} {
		for _, point := range keyCrashes() {
			for _, how := range []loss{promotion, backup, snapshot} {
				t.Run(provider+", "+point+", "+string(how), func(t *testing.T) { keyRound(t, provider, point, how) })
			}
		}
	}
}

// keyRound expects that the request has its effect once. Where the upstream does not recognise keys, the request is not
// sent again before an operator has looked, unless it is certain that it was not sent.
func keyRound(t *testing.T, provider, point string, how loss) {
	t.Helper()
	w := newPast(t, how)
	w.timing, w.patience = silence, patiently
	held := w.holdPages()
	w.fill(1)
	w.start("scheduler")
	w.start("syncer")
	worker := w.start("item-worker", "TRIBUTARY_CRASH_AT="+point)
	id := w.create("one", provider)
	w.awaitBegun(1, id)
	w.keep()
	held.open()
	<-worker.ended
	w.lose()
	w.goBack()
	w.start("item-worker")
	// A Postgres that went back has no key, and without a shadow the request was not sent.
	unsent := point == "outbound: key reserved" && how != snapshot
	if provider == "kiosk" && !unsent {
		w.resolveKey(id, point)
	} else {
		w.wantRun(w.awaitClosed(id, 1), "succeeded", 1, 0)
	}
	w.wantOrders("r1")
}
