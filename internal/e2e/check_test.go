package e2e_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func (w *world) wantRun(run *postgres.Run, state string, items, dead int64) {
	w.t.Helper()
	if string(run.State) != state || run.Items != items || run.Dead != dead || run.Done+run.Skipped+run.Dead != items {
		w.t.Errorf("run is %s with %d items: %d done, %d skipped, %d dead (%s); want %s with %d items and %d dead",
			run.State, run.Items, run.Done, run.Skipped, run.Dead, run.Error, state, items, dead)
	}
}

func (w *world) wantCursor(id uuid.UUID, want string) {
	w.t.Helper()
	if got := w.cursor(id); got != want {
		w.t.Errorf("cursor is %q, want %q", got, want)
	}
}

// wantHistory checks every move of every cursor against what was handled by then: the cursor never moves past a record of which the version it
// covers was not handled (I1, I3), and never backwards but by a reset (I2).
func (w *world) wantHistory() {
	w.t.Helper()
	w.wantHistoryOf(func(string) *upstream { return w.upstream })
}

// wantHistoryOf is wantHistory where each integration has an upstream of its own.
func (w *world) wantHistoryOf(upstreamOf func(integration string) *upstream) {
	w.t.Helper()
	var moves []*eventsv1.CursorMoved
	w.await("the cursor's events", func() bool {
		moves = w.cursorMoves()
		covered := map[string]string{}
		for _, m := range moves {
			covered[m.GetIntegration().GetIntegrationId()] = m.GetTo()
		}
		for id, to := range covered {
			if w.cursor(uuid.MustParse(id)) != to {
				return false
			}
		}
		return true
	})
	versions := map[string]int64{}
	for _, m := range moves {
		id := m.GetIntegration().GetIntegrationId()
		if m.GetVersion() <= versions[id] {
			w.t.Errorf("cursor of %s moves to version %d after version %d", id, m.GetVersion(), versions[id])
		}
		versions[id] = m.GetVersion()
		if m.GetRunId() == "" {
			continue
		}
		w.checkMove(upstreamOf(id), m)
	}
}

func (w *world) checkMove(u *upstream, m *eventsv1.CursorMoved) {
	w.t.Helper()
	to, err := strconv.ParseInt(m.GetTo(), 10, 64)
	if err != nil {
		w.t.Errorf("cursor moves to %q", m.GetTo())
		return
	}
	if from, err := strconv.ParseInt(m.GetFrom(), 10, 64); err == nil && to <= from {
		w.t.Errorf("cursor moves back from %d to %d", from, to)
	}
	settled := map[int64]bool{}
	for _, h := range u.handlings("") {
		if (h.Do == "ok" || h.Do == "skip") && h.at.Before(m.GetAt().AsTime()) {
			settled[h.Entry.Seq] = true
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, e := range u.entries {
		if e.Seq <= to && !settled[e.Seq] && !u.excused[e.ID] {
			w.t.Errorf("cursor of %s moved to %d at %s, before %s (%d) was handled", m.GetIntegration().GetName(), to, m.GetAt().AsTime(), e.ID, e.Seq)
		}
	}
}

func (w *world) cursorMoves() []*eventsv1.CursorMoved {
	w.t.Helper()
	var moves []*eventsv1.CursorMoved
	for _, body := range w.history(events.CursorMoved) {
		m := &eventsv1.CursorMoved{}
		if err := protojson.Unmarshal(body, m); err != nil {
			w.t.Fatal(err)
		}
		moves = append(moves, m)
	}
	return moves
}

// history reads the events of one name from their stream, each once: the relay delivers at least once, under a stable id.
func (w *world) history(name events.Name) [][]byte {
	w.t.Helper()
	js, err := jetstream.New(w.nc)
	if err != nil {
		w.t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(w.t.Context(), events.StreamEvents, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.Root + ".events." + string(name) + ".>"},
	})
	if err != nil {
		return nil
	}
	info, err := consumer.Info(w.t.Context())
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	var bodies [][]byte
	for left := int(info.NumPending); left > 0; {
		batch, err := consumer.Fetch(left, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return nil
		}
		before := left
		for msg := range batch.Messages() {
			left--
			if id := msg.Headers().Get(nats.MsgIdHdr); !seen[id] {
				seen[id] = true
				bodies = append(bodies, msg.Data())
			}
		}
		if left == before {
			return nil
		}
	}
	return bodies
}

// listener collects the events of one name.
type listener struct {
	mu     sync.Mutex
	bodies []string
	// seen are the ids: a message may come twice.
	seen map[string]bool
}

func (w *world) listen(name events.Name) *listener {
	w.t.Helper()
	l := &listener{seen: map[string]bool{}}
	_, err := w.nc.Subscribe(events.Root+".events."+string(name)+".>", func(msg *nats.Msg) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if id := msg.Header.Get(nats.MsgIdHdr); id != "" {
			if l.seen[id] {
				return
			}
			l.seen[id] = true
		}
		l.bodies = append(l.bodies, string(msg.Data))
	})
	if err == nil {
		err = w.nc.Flush()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// count counts the events whose body has a text in it.
func (l *listener) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, body := range l.bodies {
		if strings.Contains(body, text) {
			n++
		}
	}
	return n
}

// flag is a file whose existence processes look at.
type flag struct {
	w    *world
	path string
}

func (w *world) flag() *flag { return &flag{w: w, path: filepath.Join(w.t.TempDir(), "flag")} }

func (f *flag) raise() {
	if err := os.WriteFile(f.path, nil, 0o600); err != nil {
		f.w.t.Fatal(err)
	}
}

func (f *flag) lower() {
	if err := os.Remove(f.path); err != nil {
		f.w.t.Fatal(err)
	}
}

// gate holds whoever waits at it until it is opened, at the latest when the test ends.
type gate struct {
	once sync.Once
	c    chan struct{}
}

func (w *world) gate() *gate {
	g := &gate{c: make(chan struct{})}
	w.t.Cleanup(g.open)
	return g
}

func (g *gate) wait() { <-g.c }

func (g *gate) open() { g.once.Do(func() { close(g.c) }) }
