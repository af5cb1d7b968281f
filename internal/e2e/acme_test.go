package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/events"
)

// order is a record of acme's upstream.
type order struct {
	ID       string `json:"id"`
	Cents    int64  `json:"cents"`
	Revision int64  `json:"revision"`
}

const shopKey = "a-key-of-the-shop"

// shop is acme's upstream.
type shop struct {
	*httptest.Server

	mu     sync.Mutex
	orders []order
	next   int64
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) put(id string, cents int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.orders = slices.DeleteFunc(s.orders, func(o order) bool { return o.ID == id })
	s.orders = append(s.orders, order{ID: id, Cents: cents, Revision: s.next})
}

func (s *shop) serve(w http.ResponseWriter, r *http.Request) {
	var after int64
	_, err := fmt.Sscan(r.URL.Query().Get("after"), &after)
	if err != nil || r.Header.Get("Authorization") != "Bearer "+shopKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	page := slices.DeleteFunc(slices.Clone(s.orders), func(o order) bool { return o.Revision <= after })
	slices.SortFunc(page, func(a, b order) int { return cmp.Compare(a.Revision, b.Revision) })
	_ = json.NewEncoder(w).Encode(page)
}

// buildAcme builds the program of examples/acme as somebody else would, in its own module.
func buildAcme(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acme")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/acme")
	build.Dir = filepath.Join("..", "..", "examples", "acme")
	// Also where this test is compiled in another way, as for the race detector: one build of the dependencies serves.
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return path
}

// startBinary starts a service of another binary than the stock one, which is this test's.
func (w *world) startBinary(path, service string) *process {
	w.t.Helper()
	p := &process{name: filepath.Base(path) + " " + service, output: &lockedBuffer{}, ended: make(chan struct{})}
	p.cmd = exec.Command(path, service, "--http-addr=", "--connections=6", "--concurrency=8")
	p.cmd.Env = append(os.Environ(), "TRIBUTARY_ALLOW_NETWORKS=loopback", "DATABASE_URL="+w.database,
		"TRIBUTARY_NATS_URL="+w.natsURL,
		"TRIBUTARY_KEYS_FILE="+w.keys, "TRIBUTARY_TEST_TIMING="+w.timing.String(),
		"TRIBUTARY_TEST_LEASE="+w.lease.String(), "GOMAXPROCS=2")
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() {
			w.t.Logf("--- %s\n%s", p.name, p.output.tail())
		}
	})
	return p
}

// awaitProviders waits until schedulers with exactly these providers answer.
func (w *world) awaitProviders(client *api.Client, want ...string) {
	w.t.Helper()
	w.await("the providers "+strings.Join(want, ", "), func() bool {
		var have []string
		providers, err := client.Providers(w.t.Context())
		for _, p := range providers {
			have = append(have, p.Key)
		}
		slices.Sort(have)
		return err == nil && slices.Equal(have, want)
	})
}

// TestAcmeBesideTheStockBinary runs two binaries with different providers on one NATS and one Postgres: each takes its
// own providers' work, and no other.
func TestAcmeBesideTheStockBinary(t *testing.T) {
	w := newSteadyWorld(t)
	s := newShop(t)
	s.put("bread", 300)
	s.put("milk", 120)
	s.put("sample", 0)
	w.fill(70)
	binary := buildAcme(t)
	stock := w.startAll()
	client := api.New(w.nc, 10*time.Second)
	acme := api.CreateIntegration{
		Provider: "acme", Name: "shop", Metadata: raw(t, map[string]string{"url": s.URL}),
		Credentials: raw(t, map[string]string{"key": shopKey}),
	}
	w.awaitProviders(client, "account", "boastful", "feed", "github", "guarded", "hasty", "hooked", "kiosk", "list",
		"ordered", "quiet", "rationed", "shop", "table", "talkative")
	if _, err := client.CreateIntegration(t.Context(), acme); api.CodeOf(err) != api.NotFound {
		t.Errorf("without acme's scheduler, creating its integration ends in %v, want %s", err, api.NotFound)
	}

	scheduler := w.startBinary(binary, "scheduler")
	syncer, worker := w.startBinary(binary, "syncer"), w.startBinary(binary, "item-worker")
	w.awaitProviders(client, "account", "acme", "boastful", "feed", "github", "guarded", "hasty", "hooked", "kiosk",
		"list", "ordered", "quiet", "rationed", "shop", "table", "talkative")
	short := acme
	short.Credentials = raw(t, map[string]string{"key": "short"})
	if _, err := client.CreateIntegration(t.Context(), short); api.CodeOf(err) != api.Invalid {
		t.Errorf("with a key against acme's rules, creating ends in %v, want %s", err, api.Invalid)
	}
	ours, err := client.CreateIntegration(t.Context(), acme)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := client.CreateIntegration(t.Context(), api.CreateIntegration{
		Provider: "feed", Name: "feed", Metadata: raw(t, map[string]string{"url": w.server.URL}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ourID, theirID := uuid.MustParse(ours.ID), uuid.MustParse(theirs.ID)
	ourRun, theirRun := w.awaitClosed(ourID, 1), w.awaitClosed(theirID, 1)
	checkRun(t, ourRun, "succeeded", 2, 1)
	checkRun(t, theirRun, "succeeded", 70, 0)

	// Commands are for any scheduler.
	s.put("milk", 130)
	w.command(events.VerbSync, "shop", "")
	checkRun(t, w.awaitClosed(ourID, 2), "succeeded", 1, 0)
	if got := w.cursor(ourID); got != "4" {
		t.Errorf("acme's cursor is %s, want 4", got)
	}

	// A worker that doesn't know the provider would have found no handler, and stored records.
	records, err := client.Records(t.Context(), "shop")
	if err != nil || records.Records != 0 {
		t.Errorf("acme's orders went to %d records (%v), want to its handler", records.Records, err)
	}
	for _, p := range append(stock, scheduler, syncer, worker) {
		if code := p.stop(); code != 0 {
			t.Errorf("%s ends with %d", p.name, code)
		}
	}
	mentions := func(p *process, run *postgres.Run) bool {
		return strings.Contains(p.output.tail(), "run="+run.ID.String())
	}
	if !mentions(syncer, ourRun) || !mentions(stock[1], theirRun) {
		t.Error("a syncer has not enumerated its own provider's run")
	}
	if mentions(syncer, theirRun) || mentions(stock[1], ourRun) {
		t.Error("a syncer has enumerated another binary's run")
	}
	if mentions(scheduler, theirRun) || mentions(stock[0], ourRun) {
		t.Error("a scheduler has closed another binary's run")
	}
	if booked := strings.Count(worker.output.tail(), "msg=booked"); booked != 3 {
		t.Errorf("acme's worker has booked %d orders, want 3", booked)
	}
}

func raw(t *testing.T, value any) json.RawMessage {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func checkRun(t *testing.T, run *postgres.Run, state string, done, skipped int64) {
	t.Helper()
	if string(run.State) != state || run.Done != done || run.Skipped != skipped || run.Dead != 0 {
		t.Errorf("run %s is %s with %d done, %d skipped and %d dead, want %s with %d, %d and 0", run.ID, run.State,
			run.Done, run.Skipped, run.Dead, state, done, skipped)
	}
}
