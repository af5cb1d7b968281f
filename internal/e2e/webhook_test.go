package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
)

// A delivery is verified, stored, answered, and its entry handled once; a second copy is not.
func TestWebhook(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	in := w.startIngress()
	id := w.createHooked("one", "hooked")
	url := in.url + "/integrations/hooked/one/webhook"
	e := entry{ID: "r1", Seq: 1, Body: "pushed"}
	w.await("the directory", func() bool { code, _ := w.push(url, "d0", e); return code == http.StatusOK })
	w.awaitWebhooks(id, "processed", 1)
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
	w := newWorld(t)
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
	id := w.createHooked("one", "ordered")
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
			if h.Do == "fail" {
				continue
			}
			if h.Entry.Seq != last+1 {
				t.Errorf("%s: %d was handled after %d", record, h.Entry.Seq, last)
			}
			last = h.Entry.Seq
		}
	}
}
