package webhookingress_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

const key = "the secret of one"

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// ready makes the integration one and waits until the ingress knows it.
func (f *fixture) ready() string {
	f.t.Helper()
	id := f.put("one", "active", 1, webhooks.Secrets{WebhookSecret: key})
	f.await("the directory", func() bool { return f.send("signed/one/webhook", "first", key, "{}").code == http.StatusOK })
	return id
}

func TestAnswers(t *testing.T) {
	f := newFixture(t)
	id := f.ready()
	f.put("off", "disabled", 1, webhooks.Secrets{WebhookSecret: key})
	f.put("paused", "paused", 1, webhooks.Secrets{WebhookSecret: key})
	f.await("the directory", func() bool { return f.send("signed/paused/webhook", "p", key, "{}").code == http.StatusOK })
	for _, c := range []struct {
		name, path, id, secret, body string
		code                         int
		status                       string
	}{
		{"queued", "signed/one/webhook", "1", key, "{}", 200, "queued"},
		{"a copy", "signed/one/webhook", "1", key, "{}", 200, "duplicate"},
		{"a copy with another body", "signed/one/webhook", "1", key, "[]", 200, "duplicate"},
		{"by id", "signed/" + id + "/webhook", "2", key, "{}", 200, "queued"},
		{"without an id", "signed/one/webhook", "", key, "{}", 200, "queued"},
		{"its copy", "signed/one/webhook", "", key, "{}", 200, "duplicate"},
		{"its copy by another query", "signed/one/webhook?x=1", "", key, "{}", 200, "queued"},
		{"its copy at another address", "signed/" + id + "/webhook", "", key, "{}", 200, "queued"},
		{"an id that no header takes", "signed/one/webhook", strings.Repeat("long", 100), key, "{}", 200, "queued"},
		{"another secret", "signed/one/webhook", "3", "guess", "{}", 403, "the signature is missing or wrong"},
		{"a verifier that panics", "signed/one/webhook", "4", key, "panic", 403, "the signature is missing or wrong"},
		{"an unknown integration", "signed/two/webhook", "5", key, "{}", 404, "no such integration"},
		{"a disabled one", "signed/off/webhook", "6", key, "{}", 404, "no such integration"},
		{"an unknown provider", "sined/one/webhook", "7", key, "{}", 404, "no such provider here"},
		{"another provider's integration", "silent/one/webhook", "8", key, "{}", 400, "this provider takes no webhooks"},
		{"another path", "signed/one/webhooks", "9", key, "{}", 404, "there is nothing here"},
	} {
		if got := f.send(c.path, c.id, c.secret, c.body); got.code != c.code || got.status != c.status {
			t.Errorf("%s: %d %q, want %d %q", c.name, got.code, got.status, c.code, c.status)
		}
	}
	for method, want := range map[string]int{http.MethodPut: 405, http.MethodDelete: 405, http.MethodGet: 403} {
		req, err := http.NewRequestWithContext(t.Context(), method, f.url+"signed/one/webhook", nil)
		f.must(err)
		if got := f.do(req); got.code != want {
			t.Errorf("%s: %d, want %d", method, got.code, want)
		}
	}
}

func TestChallenge(t *testing.T) {
	f := newFixture(t)
	f.ready()
	for query, want := range map[string]answered{
		"hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=" + url.QueryEscape(key): {code: 200, status: "<script>"},
		"hub.mode=subscribe&hub.challenge=1&hub.verify_token=guess":                              {code: 403, status: "the signature is missing or wrong"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"signed/one/webhook?"+query, nil)
		f.must(err)
		got := f.do(req)
		if got.code != want.code || got.status != want.status {
			t.Errorf("%s: %d %q, want %d %q", query, got.code, got.status, want.code, want.status)
		}
		if got.code == 200 && (got.header.Get("Content-Type") != "text/plain; charset=utf-8" || got.header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("the challenge is answered as %v, which a browser might run", got.header)
		}
	}
}

// The directory is followed: new, changed and deleted integrations count within moments, and with them their secrets, the previous one included.
func TestDirectoryIsFollowed(t *testing.T) {
	f := newFixture(t)
	id := f.ready()
	const fresh = "the next secret of one"
	f.put("one", "active", 2, webhooks.Secrets{WebhookSecret: fresh, WebhookSecretPrevious: key})
	f.await("the new secret", func() bool { return f.send("signed/one/webhook", "a", fresh, "{}").code == 200 })
	if got := f.send("signed/one/webhook", "b", key, "{}"); got.code != 200 {
		t.Errorf("the previous secret: %d", got.code)
	}
	f.put("one", "active", 3, webhooks.Secrets{WebhookSecret: fresh})
	f.await("the end of the previous secret", func() bool { return f.send("signed/one/webhook", "c", key, "{}").code == 403 })
	f.put("one", "active", 4, webhooks.Secrets{})
	f.await("the end of all secrets", func() bool { return f.send("signed/one/webhook", "d", fresh, "{}").code == 403 })
	if got := f.send("signed/one/webhook", "e", "", "{}"); got.code != 403 {
		t.Errorf("signed with an empty secret: %d", got.code)
	}
	f.remove(id)
	f.await("the deletion", func() bool { return f.send("signed/one/webhook", "f", fresh, "{}").code == 404 })
}

// Until the directory is whole, what is not in it may only not be there yet.
func TestDirectoryIsNotWholeYet(t *testing.T) {
	f := newFixture(t)
	got := f.send("signed/one/webhook", "a", key, "{}")
	if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "10" {
		t.Errorf("%d, Retry-After %q", got.code, got.header.Get("Retry-After"))
	}
	f.ready()
	// The mark that the directory is whole follows the entries: until it arrives, what is not known may still exist.
	f.await("the directory to be whole", func() bool {
		got := f.send("signed/two/webhook", "a", key, "{}")
		if got.code != http.StatusServiceUnavailable && got.code != http.StatusNotFound {
			t.Fatalf("an integration that is not in the directory gives %d", got.code)
		}
		return got.code == http.StatusNotFound
	})
	f.start()
	f.await("the second ingress", func() bool { return f.send("signed/one/webhook", "b", key, "{}").code == 200 })
}

// The address of the provider stands for all its integrations; a delivery goes to those whose secret has signed it.
func TestProvidersAddress(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.settings.Candidates = 3 })
	one := f.ready()
	two := f.put("two", "active", 1, webhooks.Secrets{WebhookSecret: "the secret of two"})
	three := f.put("three", "active", 1, webhooks.Secrets{WebhookSecret: "the secret of two"})
	f.await("the directory", func() bool { return f.send("signed/three/webhook", "x", "the secret of two", "{}").code == 200 })
	for secret, want := range map[string]map[string]bool{key: {one: true}, "the secret of two": {two: true, three: true}} {
		if got := f.send("signed/webhook", "generic "+secret[len(secret)-3:], secret, "{}"); got.code != 200 || got.status != "queued" {
			t.Errorf("%d %q", got.code, got.status)
		}
		took := map[string]bool{}
		for _, m := range f.stored() {
			if strings.HasPrefix(m.GetDeliveryId(), "id-sha256:") && !took[m.GetIntegrationId()] && want[m.GetIntegrationId()] {
				took[m.GetIntegrationId()] = true
			}
		}
		if diff := cmp.Diff(want, took); diff != "" {
			t.Errorf("signed with %q it goes to (-want +got):\n%s", secret, diff)
		}
	}
	f.put("four", "active", 1, webhooks.Secrets{WebhookSecret: key})
	f.await("too many", func() bool { return f.send("signed/webhook", "y", key, "{}").code == 400 })
}

// While the broker is away nothing is answered with 2xx, and afterwards everything is as before.
func TestBrokerIsAway(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.settings.StoreTimeout = 500 * time.Millisecond })
	f.ready()
	f.nats.Stop()
	got := f.send("signed/one/webhook", "a", key, "{}")
	if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", got.code, got.header.Get("Retry-After"))
	}
	f.nats.Start()
	f.await("the broker", func() bool { return f.send("signed/one/webhook", "a", key, "{}").code == 200 })
	if n := len(f.stored()); n != 2 {
		t.Errorf("%d are stored, want the first and this one", n)
	}
}

// A full stream refuses the newest, with 503, and keeps all that was answered with 2xx.
func TestFull(t *testing.T) {
	f := newFixture(t)
	f.ready()
	body := strings.Repeat("b", 100<<10)
	taken := map[string]bool{"first": true}
	var last answered
	for i := range 20 {
		id := fmt.Sprint("full-", i)
		if last = f.send("signed/one/webhook", id, key, body); last.code == 200 {
			taken[id] = true
		}
	}
	if last.code != http.StatusServiceUnavailable || last.header.Get("Retry-After") == "" || last.status != "no room at this moment" {
		t.Errorf("the last is answered with %d %q", last.code, last.status)
	}
	stored := map[string]bool{}
	for _, m := range f.stored() {
		stored[m.GetDeliveryId()] = true
	}
	if diff := cmp.Diff(taken, stored); diff != "" {
		t.Errorf("taken and stored differ:\n%s", diff)
	}
}

// Webhooks of a provider that nobody fetches leave room for those of the others, and are taken again once they are fetched.
func TestOneProviderLeavesRoomForTheOthers(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.settings.BacklogEvery = time.Hour })
	f.ready()
	f.putOf("shared", "two", "acme", "active", 1, webhooks.Secrets{WebhookSecret: key})
	f.await("the other integration", func() bool { return f.send("shared/two/webhook", "first", key, "{}").code == http.StatusOK })
	body := strings.Repeat("b", 40<<10)
	send := func(n int) int {
		f.must(f.ingress.LookAtBacklog(t.Context()))
		return f.send("signed/one/webhook", fmt.Sprint("one-", n), key, body).code
	}
	n := 0
	for n < 100 && send(n) == http.StatusOK {
		n++
	}
	usage, err := f.bus.Usage(t.Context(), wire.StreamWebhooks)
	f.must(err)
	if part := float64(usage.Bytes) / float64(usage.Most); part < 0.75 || part > 0.9 {
		t.Errorf("it is refused when it takes %.2f of the room", part)
	}
	if got := f.send("shared/two/webhook", "beside", key, body); got.code != http.StatusOK {
		t.Errorf("another provider's is answered with %d %q", got.code, got.status)
	}
	stream, err := f.js.Stream(t.Context(), wire.StreamWebhooks)
	f.must(err)
	f.must(stream.Purge(t.Context()))
	if got := send(n); got != http.StatusOK {
		t.Errorf("once they are fetched it is answered with %d", got)
	}
}

// Whole requests that find no turn in time are put off. A request that has only begun takes no turn.
func TestBusy(t *testing.T) {
	f := newFixture(t, patient, func(f *fixture) { f.settings.InFlight, f.settings.StoreTimeout = 1, 3*time.Second })
	f.ready()
	reader, writer := io.Pipe()
	begun := f.request("signed/one/webhook", "begun", key, []byte("{}"))
	begun.Body, begun.ContentLength = reader, -1
	var done sync.WaitGroup
	done.Go(func() {
		if got := f.do(begun); got.code != 200 {
			t.Errorf("the one that had begun: %d", got.code)
		}
	})
	_, err := io.WriteString(writer, "{")
	f.must(err)
	if got := f.send("signed/one/webhook", "beside", key, "{}"); got.code != 200 {
		t.Errorf("beside one that has only begun: %d %q", got.code, got.status)
	}
	done.Go(func() { f.send("signed/one/webhook", "held", key, "hold") })
	f.await("the turn to be taken", func() bool { return f.verified.Load() == 3 })
	got := f.send("signed/one/webhook", "other", key, "{}")
	if got.code != http.StatusServiceUnavailable || got.status != "too many requests at this moment" || got.header.Get("Retry-After") == "" {
		t.Errorf("beside one in work: %d %q", got.code, got.status)
	}
	close(f.held)
	_, err = io.WriteString(writer, "}")
	f.must(err)
	f.must(writer.Close())
	done.Wait()
}

// What is secret in a request is not on the stream, and a worker gets it back all the same.
func TestSecretsAreSealed(t *testing.T) {
	f := newFixture(t)
	f.ready()
	body := []byte(`{"a":1}`)
	req := f.request("signed/one/webhook?pin=hush&page=2", "sealed", key, body)
	req.Header.Set("Authorization", "Bearer hush")
	req.Header.Set("Cookie", "session=hush")
	req.Header.Set("X-Gitlab-Token", "hush")
	for _, name := range []string{"X-Jwt", "X-Passphrase", "X-Shared-Key", "X-Pin"} {
		req.Header.Set(name, "hush")
	}
	req.Header["X-Latin"] = []string{"caf\xe9"}
	req.Header.Set("X-Plain", "plain")
	if got := f.do(req); got.code != 200 {
		t.Fatalf("%d %q", got.code, got.status)
	}
	all := f.stored()
	m := all[len(all)-1]
	if shown := m.String(); strings.Contains(shown, "hush") || strings.Contains(shown, sign(key, body)) || !strings.Contains(shown, "plain") {
		t.Errorf("on the stream: %s", shown)
	}
	got, err := delivery.NewCodec(f.ring).Unpack(m)
	f.must(err)
	want := map[string]string{
		"X-Jwt": "hush", "X-Passphrase": "hush", "X-Shared-Key": "hush", "X-Pin": "hush",
		"Authorization": "Bearer hush", "Cookie": "session=hush", "X-Gitlab-Token": "hush", "X-Latin": "caf\xe9", "X-Plain": "plain", "X-Hub-Signature-256": sign(key, body),
	}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("%s comes back as %q, want %q", name, got.Header.Get(name), value)
		}
	}
	if got.Query != "pin=hush&page=2" || got.Path != "/integrations/signed/one/webhook" || got.Method != http.MethodPost || !bytes.Equal(got.Body, body) {
		t.Errorf("the request comes back as %s %s?%s %q", got.Method, got.Path, got.Query, got.Body)
	}
}

// Many refusals are told once, until there was quiet.
func TestManyRefusals(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.settings.Burst = 5 })
	id := f.ready()
	heard := make(chan *eventsv1.WebhooksRefused, 10)
	sub, err := f.bus.Conn().Subscribe(events.EventSubject(events.WebhooksRefused, "signed", id), func(msg *nats.Msg) {
		var e eventsv1.WebhooksRefused
		if err := protojson.Unmarshal(msg.Data, &e); err == nil {
			heard <- &e
		}
	})
	f.must(err)
	defer func() { _ = sub.Unsubscribe() }()
	f.must(f.bus.Conn().Flush())
	for i := range 50 {
		f.send("signed/one/webhook", fmt.Sprint(i), "guess", "{}")
	}
	select {
	case e := <-heard:
		if e.GetRefused() != 5 || e.GetIntegration().GetName() != "one" {
			t.Errorf("told %v", e)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing is told")
	}
	f.must(f.bus.Conn().Flush())
	if len(heard) > 0 {
		t.Error("told twice")
	}
}
