package health_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
)

// outbox are the names of the events about circuits and incidents, with their ids if these are stable.
func (w *world) outbox(t *testing.T) (names []string, ids map[string]bool) {
	t.Helper()
	rows, err := w.pool.Query(t.Context(), "select subject, msg_id from outbox order by id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ids = map[string]bool{}
	for rows.Next() {
		var subject, id string
		if err := rows.Scan(&subject, &id); err != nil {
			t.Fatal(err)
		}
		name, _, _, err := events.ParseEventSubject(subject)
		if err != nil {
			t.Fatal(err)
		}
		names, ids[id] = append(names, string(name)), true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names, ids
}

func (w *world) transition(open bool, number int64) circuit.Transition {
	reason := circuit.ReasonProbeAnswered
	if open {
		reason = circuit.ReasonFailures
	}
	return circuit.Transition{Provider: "shop", Integration: w.id.String(), State: circuit.State{
		Open: open, Transition: number, Since: start, Reason: reason, Until: start.Add(time.Minute),
	}}
}

func TestCircuitMoved(t *testing.T) {
	w := newWorld(t)
	for _, move := range []circuit.Transition{
		w.transition(true, 10), w.transition(true, 10), w.transition(false, 20), w.transition(true, 10), w.transition(false, 20),
	} {
		if err := w.CircuitMoved(t.Context(), move); err != nil {
			t.Fatal(err)
		}
	}
	names, ids := w.outbox(t)
	if diff := cmp.Diff([]string{"circuit-opened", "incident-opened", "circuit-closed", "incident-closed"}, names); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if !ids["circuit/"+w.id.String()+"/10"] || !ids["circuit/"+w.id.String()+"/20"] {
		t.Errorf("the ids are %v", ids)
	}
	gone := w.transition(true, 30)
	gone.Integration = "0192f0c4-7a3e-7c3a-9c5e-0123456789ab"
	if err := w.CircuitMoved(t.Context(), gone); err != nil {
		t.Errorf("a deleted integration: %v", err)
	}
}

// cells are a broker's, in memory.
type cells struct {
	mu     sync.Mutex
	values map[string]string
}

func (c *cells) Read(_ context.Context, key string) ([]byte, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return []byte(c.values[key]), uint64(len(c.values[key])), nil
}

func (c *cells) Write(_ context.Context, key string, value []byte, revision uint64) (uint64, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(len(c.values[key])) != revision {
		return 0, false, nil
	}
	c.values[key] = string(value)
	return uint64(len(value)), true, nil
}

func (c *cells) Watch(ctx context.Context, _ string, fn func(string, []byte, uint64)) error {
	c.mu.Lock()
	there := maps.Clone(c.values)
	c.mu.Unlock()
	for key, value := range there {
		fn(key, []byte(value), uint64(len(value)))
	}
	<-ctx.Done()
	return nil
}

func TestCompareCircuits(t *testing.T) {
	w := newWorld(t)
	// One that nobody told of.
	value, err := json.Marshal(w.transition(true, 10).State)
	if err != nil {
		t.Fatal(err)
	}
	broker := &cells{values: map[string]string{"shop." + w.id.String(): string(value)}}
	// One that the broker has lost.
	lost := w.insert(t, "lost")
	_, err = w.Store.CircuitMove(t.Context(), dbsqlc.CircuitMoveParams{IntegrationID: lost, Open: true, Transition: 7, Reason: "r", Since: start})
	if err != nil {
		t.Fatal(err)
	}
	circuits := circuit.New(circuit.Config{Cells: broker, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- circuits.Run(ctx) }()
	for len(circuits.Known()) == 0 {
		<-time.After(time.Millisecond)
	}
	for range 2 {
		if err := w.CompareCircuits(t.Context(), circuits); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	names, _ := w.outbox(t)
	if diff := cmp.Diff([]string{"circuit-opened", "incident-opened"}, names); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	state, err := circuits.State(t.Context(), "shop", lost.String())
	if err != nil || !state.Open || state.Transition != 7 {
		t.Errorf("what was lost is %+v, %v", state, err)
	}
}
