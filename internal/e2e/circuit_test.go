package e2e_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/wire"
)

// circuitState is what all processes know of a circuit.
type circuitState struct {
	Open   bool   `json:"open"`
	Reason string `json:"reason"`
}

// circuit reads the circuit of an integration of guarded; one that never opened is closed.
func (w *world) circuit(id uuid.UUID) (state circuitState) {
	w.t.Helper()
	js, err := w.nc.JetStream()
	if err != nil {
		w.t.Fatal(err)
	}
	bucket, err := js.KeyValue(wire.BucketCircuits)
	if err != nil {
		return state // the services have not made it yet
	}
	entry, err := bucket.Get("guarded." + id.String())
	if err != nil {
		return state
	}
	if err := json.Unmarshal(entry.Value(), &state); err != nil {
		w.t.Fatal(err)
	}
	return state
}

// TestOpenCircuit has an upstream fail until its circuit is open. What was not sent yet waits without spending a try, in the items and in an enumeration; when the
// upstream is well again, a probe finds out, and everything finishes. A try is spent only on what the upstream has really failed.
func TestOpenCircuit(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(400)
	var well atomic.Bool
	w.setJudge(func(handled) verdict {
		if well.Load() {
			return verdict{}
		}
		return verdict{Status: http.StatusServiceUnavailable}
	})
	w.startAll()
	id := w.create("one", "guarded")
	w.await("a probe that fails", func() bool { return w.circuit(id).Reason == circuit.ReasonProbeFailed })
	// Ten requests say enough; others go on until the word of it is around. Without a circuit each of the items would
	// be sent five times.
	if n := len(w.handlings("")); n > 200 {
		t.Errorf("%d requests were sent to an upstream that fails each", n)
	}
	well.Store(true)
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 400, 0)
	w.wantCursor(id, "400")
	w.wantTries(func(h handling) bool { return h.Status != 0 })
	if w.circuit(id).Open {
		t.Error("the circuit is still open")
	}
}
