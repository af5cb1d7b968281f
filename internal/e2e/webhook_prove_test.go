package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/embedded/cable"
	"github.com/tributaryhq/tributary/internal/octokit"
	"github.com/tributaryhq/tributary/pkg/contracts"
	demo "github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

const (
	// proveFor is how long a proof keeps its load up.
	proveFor = time.Minute
	// proveSenders is how many send at a time, and provePace is how long each rests between two deliveries.
	proveSenders = 8
	provePace    = 80 * time.Millisecond
)

// load is what senders have been told.
type load struct {
	sent, taken, unanswered, put atomic.Int64
}

// pour sends deliveries, each until it is taken, for a while, and returns when every one was.
func (w *world) pour(url func() string, duration time.Duration) *load {
	l := &load{}
	until := time.Now().Add(duration)
	var senders sync.WaitGroup
	for range proveSenders {
		senders.Go(func() {
			for time.Now().Before(until) {
				n := l.sent.Add(1)
				id := strconv.FormatInt(n, 10)
				for {
					code, _ := w.push(url(), id, entry{ID: "r" + id, Seq: n, Body: "pushed"})
					if code == http.StatusOK {
						l.taken.Add(1)
						break
					}
					if l.unanswered.Add(1); code != 0 {
						l.put.Add(1)
					}
					<-time.After(50 * time.Millisecond)
				}
				<-time.After(provePace)
			}
		})
	}
	senders.Wait()
	return l
}

// fates compares what was taken with what was handled, and returns how many were handled again.
func (w *world) fates(id uuid.UUID, l *load) (again int) {
	w.t.Helper()
	// One came before the load.
	stored := l.taken.Load() + 1
	// Looking at all of them all the time would be most of the load.
	for deadline := time.Now().Add(10 * time.Minute); ; <-time.After(250 * time.Millisecond) {
		outcomes, err := w.store.OperationCount(w.t.Context(), []uuid.UUID{id}, time.Time{})
		if err == nil && len(outcomes) == 1 && outcomes[0].Operations >= stored {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not all of %d deliveries are done: %v, %v", stored, outcomes, err)
		}
	}
	rows := w.webhooks(id)
	if int64(len(rows)) != stored {
		w.t.Errorf("%d were taken and %d are stored", stored, len(rows))
	}
	for _, row := range rows {
		if row.Status != "processed" {
			w.t.Errorf("delivery %s is %s: %s", row.DeliveryID, row.Status, row.Error)
		}
	}
	handled := map[string]int{}
	for _, h := range w.handlings("") {
		handled[h.Entry.ID]++
	}
	for n := range l.taken.Load() {
		times := handled[fmt.Sprint("r", n+1)]
		if times == 0 {
			w.t.Errorf("delivery %d was never handled", n+1)
		}
		again += max(times-1, 0)
	}
	return again
}

// TestProveWebhooksUnderKills kills ingress, worker and broker by turns under load, and looks at the fate of every delivery that was answered with 2xx.
func TestProveWebhooksUnderKills(t *testing.T) {
	if !octokit.Asked() {
		t.Skip(octokit.Unasked)
	}
	dir, port := t.TempDir(), freePort(t)
	broker := startBroker(t, dir, port)
	natsURL := "nats://127.0.0.1:" + port
	nc, err := nats.Connect(natsURL, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := newWorldOn(t, natsURL, nc)
	w.start("scheduler")
	worker := w.start("item-worker")
	in := w.startIngress()
	id := w.createHooked("hooked")
	url := in.url + "/integrations/hooked/one/webhook"
	if !w.pushUntilTaken(url, "warm", entry{ID: "warm", Seq: 1}) {
		t.Fatal("the first was not taken")
	}
	ended := make(chan struct{})
	kills := map[string]int{}
	var killer sync.WaitGroup
	killer.Go(func() {
		gate := in.process
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Duration(500+rand.IntN(1500)) * time.Millisecond):
			}
			victim := []string{"webhook-ingress", "item-worker", "nats"}[rand.IntN(3)]
			kills[victim]++
			switch victim {
			case "webhook-ingress":
				gate.kill()
				gate = w.start(victim)
			case "item-worker":
				worker.kill()
				worker = w.start(victim)
			default:
				broker.kill()
				broker = startBroker(t, dir, port)
			}
		}
	})
	l := w.pour(func() string { return url }, proveFor)
	close(ended)
	killer.Wait()
	again := w.fates(id, l)
	t.Logf("%d kills (%v); %d deliveries taken, %d attempts got no 2xx; all processed, %d handled again", kills["webhook-ingress"]+kills["item-worker"]+kills["nats"], kills,
		l.taken.Load(), l.unanswered.Load(), again)
}

// TestProveWebhooksWithoutPostgres cuts Postgres off for a minute under load: no delivery is refused, and all are processed after.
func TestProveWebhooksWithoutPostgres(t *testing.T) {
	if !octokit.Asked() {
		t.Skip(octokit.Unasked)
	}
	w := newWorld(t)
	line := cable.New(t, w.database)
	w.database = line.URL
	w.start("scheduler")
	w.start("item-worker")
	in := w.startIngress()
	id := w.createHooked("hooked")
	url := in.url + "/integrations/hooked/one/webhook"
	if !w.pushUntilTaken(url, "warm", entry{ID: "warm", Seq: 1}) {
		t.Fatal("the first was not taken")
	}
	line.Cut()
	l := w.pour(func() string { return url }, proveFor)
	if n := l.unanswered.Load(); n > 0 {
		t.Errorf("%d attempts got no 2xx while Postgres was away", n)
	}
	waiting := l.taken.Load()
	line.Mend()
	mended := time.Now()
	again := w.fates(id, l)
	t.Logf("%d deliveries taken in %s without Postgres, %d not; processed %s after it was back, %d handled again", waiting, proveFor, l.unanswered.Load(), time.Since(mended).Round(time.Millisecond), again)
}

// signed is a payload as a sender's own library signs it.
type signedPayload struct {
	Scheme, Event, Body string
	Header              map[string]string
}

// TestProveRealWebhooks takes the payloads that GitHub publishes, signed by the senders' own libraries: each is accepted by the scheme it is signed for, and refused when a byte of it is
// changed. Those of GitHub's scheme go all the way through the ingress to their records.
func TestProveRealWebhooks(t *testing.T) {
	if !octokit.Asked() {
		t.Skip(octokit.Unasked)
	}
	payloads := signPayloads(t)
	key := "whsec_" + base64.StdEncoding.EncodeToString([]byte(hookSecret))
	verifiers := map[string]struct {
		webhooks.Verifier
		secret string
	}{
		"github": {webhooks.GitHub(), hookSecret}, "stripe": {webhooks.Stripe{}, hookSecret}, "standard": {webhooks.Standard{}, key}, "svix": {webhooks.Standard{}, key},
	}
	accepted := map[string]int{}
	for _, p := range payloads {
		v := verifiers[p.Scheme]
		req := &contracts.WebhookRequest{Method: http.MethodPost, Header: http.Header{}, Body: []byte(p.Body), ReceivedAt: time.Now()}
		for name, value := range p.Header {
			req.Header.Set(name, value)
		}
		if err := v.Verify(req, v.secret); err != nil {
			t.Errorf("%s %s: %v", p.Scheme, p.Event, err)
			continue
		}
		accepted[p.Scheme]++
		req.Body[rand.IntN(len(req.Body))] ^= 1
		if v.Verify(req, v.secret) == nil {
			t.Errorf("%s %s: accepted though it was changed", p.Scheme, p.Event)
		}
	}
	w := newWorld(t)
	w.start("scheduler")
	w.start("item-worker")
	in := w.startIngress()
	u := demo.New(demo.Options{Owner: "Codertocat", Repo: "Hello-World"})
	if err := u.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	id := w.createDemo("one", u)
	pushed := 0
	for i, p := range payloads {
		if p.Scheme != "github" {
			continue
		}
		pushed++
		w.await("delivery "+p.Event, func() bool {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.url+"/integrations/github/one/webhook", bytes.NewReader([]byte(p.Body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Hub-Signature-256", p.Header["X-Hub-Signature-256"])
			req.Header.Set("X-GitHub-Event", p.Event)
			req.Header.Set("X-GitHub-Delivery", fmt.Sprint("real-", i))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
		})
	}
	statuses := map[string]int{}
	w.await("all to be handled", func() bool {
		clear(statuses)
		for _, row := range w.webhooks(id) {
			statuses[row.Status]++
		}
		return statuses["processed"]+statuses["ignored"]+statuses["skipped"]+statuses["failed"] == pushed
	})
	for _, row := range w.webhooks(id) {
		if row.Status == "failed" {
			t.Errorf("%s failed: %s", row.EventType, row.Error)
		}
	}
	records, err := w.store.RecordCount(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if records == 0 {
		t.Error("no record came of them")
	}
	t.Logf("%v payloads accepted as signed, and refused with a bit changed; %d sent: %v, %d records", accepted, pushed, statuses, records)
}

func signPayloads(t *testing.T) []signedPayload {
	t.Helper()
	dir := t.TempDir()
	script, err := filepath.Abs("testdata/sign.mjs")
	if err != nil {
		t.Fatal(err)
	}
	// The script finds its packages beside itself.
	for _, command := range [][]string{
		{"cp", script, dir},
		{"npm", "install", "--silent", "--no-audit", "--no-fund", "@octokit/webhooks-examples@7.6.1", "@octokit/webhooks-methods@6.0.0", "stripe@20", "standardwebhooks@1", "svix@1"},
	} {
		run := exec.CommandContext(t.Context(), command[0], command[1:]...)
		run.Dir = dir
		if output, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%.1000s", command, err, output)
		}
	}
	node := exec.CommandContext(t.Context(), "node", "sign.mjs", hookSecret)
	node.Dir = dir
	output, err := node.Output()
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	var all []signedPayload
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var p signedPayload
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 1000 {
		t.Fatalf("only %d payloads were signed", len(all))
	}
	return all
}
