package e2e_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/cable"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	demo "github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// A delivery is verified, stored, answered, and its entry handled once; a second copy is not.
func TestWebhook(t *testing.T) {
	w := newSteadyWorld(t)
	w.startAll()
	in := w.startIngress()
	id := w.createHooked("hooked")
	url := in.url + "/integrations/hooked/one/webhook"
	e := entry{ID: "r1", Seq: 1, Body: "pushed"}
	w.await("the directory", func() bool { code, _ := w.push(url, "d0", e); return code == http.StatusOK })
	w.awaitWebhooks(id, "processed", 1)
	w.await("the whole directory", func() bool {
		code, _ := send(t.Context(), in.url+"/integrations/hooked/two/webhook", "none", []byte("{}"), signHook(hookSecret, []byte("{}")))
		return code == http.StatusNotFound
	})
	for _, c := range []struct {
		name, url, delivery string
		signature           string
		code                int
		status              string
	}{
		{"a copy", url, "d0", "", http.StatusOK, "duplicate"},
		{"by the integration's id", in.url + "/integrations/hooked/" + id.String() + "/webhook", "d1", "", http.StatusOK, "queued"},
		{"by the provider alone", in.url + "/integrations/hooked/webhook", "d2", "", http.StatusOK, "queued"},
		{"a wrong signature", url, "d3", "sha256=00", http.StatusForbidden, "the signature is missing or wrong"},
		{"another secret's", url, "d4", signHook("guess", []byte(`{"id":"r1","seq":1,"body":"pushed"}`)), http.StatusForbidden, "the signature is missing or wrong"},
		{"nobody's integration", in.url + "/integrations/hooked/two/webhook", "d5", "", http.StatusNotFound, "no such integration"},
		{"nobody's provider", in.url + "/integrations/huked/webhook", "d6", "", http.StatusNotFound, "no such provider here"},
		{"a provider without webhooks", in.url + "/integrations/feed/webhook", "d7", "", http.StatusBadRequest, "this provider takes no webhooks"},
	} {
		body := []byte(`{"id":"r1","seq":1,"body":"pushed"}`)
		if c.signature == "" {
			c.signature = signHook(hookSecret, body)
		}
		if code, status := send(t.Context(), c.url, c.delivery, body, c.signature); code != c.code || status != c.status {
			t.Errorf("%s: %d %q, want %d %q", c.name, code, status, c.code, c.status)
		}
	}
	w.awaitWebhooks(id, "processed", 3)
	if n := w.count("r1", "ok"); n != 3 {
		t.Errorf("handled %d times, want 3", n)
	}
}

// Two events of one entry don't overtake each other, whatever worker takes them, and one that fails holds up those after it.
func TestWebhookOrder(t *testing.T) {
	w := newSteadyWorld(t)
	w.setJudge(func(h handled) verdict {
		if h.Entry.ID == "r1" && h.Entry.Seq == 1 && h.Try < 3 {
			return verdict{Do: "fail"}
		}
		return verdict{}
	})
	w.start("scheduler")
	w.start("item-worker")
	w.start("item-worker")
	in := w.startIngress()
	id := w.createHooked("ordered")
	url := in.url + "/integrations/ordered/one/webhook"
	w.await("the directory", func() bool { code, _ := w.push(url, "first", entry{ID: "r0", Seq: 1}); return code == http.StatusOK })
	const each = 20
	for seq := range each {
		for _, record := range []string{"r1", "r2", "r3"} {
			if code, status := w.push(url, fmt.Sprintf("%s-%d", record, seq), entry{ID: record, Seq: int64(seq + 1)}); code != http.StatusOK {
				t.Fatalf("%d %s", code, status)
			}
		}
	}
	w.awaitWebhooks(id, "processed", 3*each+1)
	for _, record := range []string{"r1", "r2", "r3"} {
		last := int64(0)
		for _, h := range w.handlings(record) {
			if h.Do == "fail" || h.Entry.Seq == last { // a failure, or a repeat
				continue
			}
			if h.Entry.Seq != last+1 {
				t.Errorf("%s: %d was handled after %d", record, h.Entry.Seq, last)
			}
			last = h.Entry.Seq
		}
	}
}

// What a handler returns decides, as everywhere; what has failed can be replayed or skipped.
func TestWebhookVerdicts(t *testing.T) {
	w := newSteadyWorld(t)
	var mended atomic.Bool
	w.setJudge(func(h handled) verdict {
		switch {
		case h.Entry.ID == "tired" && !mended.Load():
			return verdict{Do: "fail"}
		case h.Entry.ID == "given-up" && !mended.Load():
			return verdict{Do: "permanent"}
		case h.Entry.ID == "panics" && h.Try == 1:
			return verdict{Do: "panic"}
		case h.Entry.ID == "patient" && w.count("patient", "defer") < 8:
			return verdict{Do: "defer", Delay: 50 * time.Millisecond}
		case h.Entry.ID == "needless":
			return verdict{Do: "skip"}
		}
		return verdict{}
	})
	failed := w.listen(events.WebhookFailed)
	w.start("scheduler")
	w.start("item-worker")
	in := w.startIngress()
	id := w.createHooked("hooked")
	for i, record := range []string{"plain", "tired", "given-up", "panics", "patient", "needless"} {
		if !w.pushUntilTaken(in.url+"/integrations/hooked/one/webhook", record, entry{ID: record, Seq: int64(i + 1)}) {
			t.Fatalf("%s was not taken", record)
		}
	}
	w.awaitWebhooks(id, "failed", 2)
	// A skipped item is done, and with it the delivery that dispatched it.
	w.awaitWebhooks(id, "processed", 4)
	byDelivery := map[string]*dbsqlc.WebhookListRow{}
	for _, row := range w.webhooks(id) {
		byDelivery[row.DeliveryID] = row
	}
	for delivery, want := range map[string]string{"tired": "tries used up", "given-up": "permanent"} {
		if got := byDelivery[delivery].Reason; got.String() != want {
			t.Errorf("%s failed for %q, want %q", delivery, got, want)
		}
	}
	if n := w.count("tired", "fail"); n != 6 {
		t.Errorf("tired was tried %d times, want 6", n)
	}
	if tries := byDelivery["patient"].Tries; tries != 0 {
		t.Errorf("the deferrals of patient took %d tries", tries)
	}
	w.await("the events", func() bool { return failed.count("webhook_id") == 2 })
	mended.Store(true)
	w.command(events.VerbSkip, "one", `{"webhook":"`+byDelivery["given-up"].ID.String()+`","reason":"not needed","by":"ada"}`)
	w.awaitWebhooks(id, "skipped", 1)
	w.command(events.VerbReplay, "one", `{"failed":true}`)
	w.awaitWebhooks(id, "processed", 5)
	w.command(events.VerbReplay, "one", `{"webhook":"`+byDelivery["plain"].ID.String()+`"}`)
	w.await("the replay", func() bool { return w.count("plain", "ok") == 2 })
	// One that is still in work is not replayed.
	w.awaitWebhooks(id, "processed", 5)
	w.command(events.VerbReplay, "one", `{"since":"`+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)+`"}`)
	w.await("the replay of all", func() bool { return w.count("plain", "ok") == 3 && w.count("given-up", "ok") == 1 })
	w.awaitWebhooks(id, "processed", 6)
}

// To a paused integration webhooks are taken in, and handled when it is resumed.
func TestWebhooksOfAPausedIntegration(t *testing.T) {
	w := newSteadyWorld(t)
	w.start("scheduler")
	w.start("item-worker")
	in := w.startIngress()
	id := w.createHooked("hooked")
	url := in.url + "/integrations/hooked/one/webhook"
	if !w.pushUntilTaken(url, "before", entry{ID: "before", Seq: 1}) {
		t.Fatal("not taken")
	}
	w.awaitWebhooks(id, "processed", 1)
	w.command(events.VerbPause, "one", "")
	w.await("the pause", func() bool { return w.integration(id).Status == "paused" })
	if code, status := w.push(url, "meanwhile", entry{ID: "meanwhile", Seq: 2}); code != http.StatusOK {
		t.Errorf("%d %s", code, status)
	}
	w.awaitWebhooks(id, "pending", 1)
	w.command(events.VerbResume, "one", "")
	w.awaitWebhooks(id, "processed", 2)
}

// One delivery that kills every worker is found out, and takes none of the others with it.
func TestWebhookThatKillsItsWorker(t *testing.T) {
	w := newWorld(t)
	w.setJudge(func(h handled) verdict {
		if h.Entry.ID == "poison" {
			return verdict{Do: "die"}
		}
		return verdict{}
	})
	w.start("scheduler")
	in := w.startIngress()
	id := w.createHooked("hooked")
	url := in.url + "/integrations/hooked/one/webhook"
	for n := range 20 {
		record := fmt.Sprint("r", n)
		if n == 10 {
			record = "poison"
		}
		if !w.pushUntilTaken(url, fmt.Sprint("d", n), entry{ID: record, Seq: int64(n + 1)}) {
			t.Fatal("not taken")
		}
	}
	stop := make(chan struct{})
	kept := make(chan struct{})
	go w.keepRunning("item-worker", stop, kept)
	w.awaitWebhooks(id, "processed", 19)
	w.awaitWebhooks(id, "failed", 1)
	close(stop)
	<-kept
	for _, row := range w.webhooks(id) {
		if row.Status == "failed" && row.Reason != "killed its worker" {
			t.Errorf("failed for %q", row.Reason)
		}
	}
}

// keepRunning starts a service anew whenever it dies.
func (w *world) keepRunning(service string, stop <-chan struct{}, kept chan<- struct{}) {
	defer close(kept)
	for {
		p := w.start(service)
		select {
		case <-stop:
			return
		case <-p.ended:
		}
	}
}

// With Postgres away webhooks are taken in, also by an ingress that starts only then, and handled when it is back.
func TestWebhooksWithoutPostgres(t *testing.T) {
	w := newWorld(t)
	line := cable.New(t, w.database)
	w.database = line.URL
	w.start("scheduler")
	w.start("item-worker")
	in := w.startIngress()
	id := w.createHooked("hooked")
	if !w.pushUntilTaken(in.url+"/integrations/hooked/one/webhook", "before", entry{ID: "before", Seq: 1}) {
		t.Fatal("not taken")
	}
	w.awaitWebhooks(id, "processed", 1)
	line.Cut()
	late := w.startIngress()
	w.await("the late ingress", func() bool {
		code, _ := w.push(late.url+"/integrations/hooked/one/webhook", "late", entry{ID: "late", Seq: 2})
		return code == http.StatusOK
	})
	for n := range 50 {
		url := []string{in.url, late.url}[n%2] + "/integrations/hooked/one/webhook"
		if code, status := w.push(url, fmt.Sprint("d", n), entry{ID: fmt.Sprint("r", n), Seq: int64(n + 3)}); code != http.StatusOK {
			t.Errorf("with Postgres away: %d %s", code, status)
		}
	}
	line.Mend()
	w.awaitWebhooks(id, "processed", 52)
}

// A gap is closed by a sync from an earlier time, and the cursor does not move back.
func TestRecover(t *testing.T) {
	w := newWorld(t)
	u := demo.New(demo.Options{Issues: 30})
	if err := u.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	w.startAll()
	id := w.createDemo("one", u)
	w.awaitClosed(id, 1)
	before := w.cursor(id)
	w.command(events.VerbRecover, "one", `{"since":"2024-06-30T00:00:00Z"}`)
	run := w.awaitClosed(id, 2)
	if run.State != "succeeded" || run.CursorFrom == nil || *run.CursorFrom != `"2024-06-30T00:00:00Z"` {
		t.Errorf("the run is %s and starts from %v", run.State, run.CursorFrom)
	}
	if run.Items < 2 {
		t.Errorf("%d items were asked for again, want those of the hours since", run.Items)
	}
	if after := w.cursor(id); after != before {
		t.Errorf("the cursor has moved from %s to %s", before, after)
	}
	rejected := w.listen(events.CommandRejected)
	w.create("two", "feed")
	w.command(events.VerbRecover, "two", `{"since":"2024-06-30T00:00:00Z"}`)
	w.await("the refusal", func() bool { return rejected.count("CursorDater") == 1 })
}
