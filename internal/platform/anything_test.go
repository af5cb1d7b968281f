package platform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// texts draws texts of any bytes and any length, from a fixed seed.
type texts struct {
	mu sync.Mutex
	*rand.Rand
	// large says that the next long text may have megabytes.
	large bool
	// honest has the authorization server answer as it should: see [granting].
	honest bool
}

// below draws a number.
func (d *texts) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.IntN(n)
}

// text draws one of the texts that stores and terminals do not take, or take at a price.
func (d *texts) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	parts := []string{"", "plain", "a\x00b", "caf\xe9", "\xed\xa0\xbd", `cut \ud83d`, "\x1b[2J", "\u009b31m", "\u2028ü😀", "\xff\xfe", `\u0000`, "token=x1", "{\"a\":", "'; --", "%s%!d", "\r\n", "1e999999"}
	text := parts[d.IntN(len(parts))]
	switch d.IntN(6) {
	case 0:
		text = strings.Repeat(text+"x", d.IntN(20_000))
	case 1:
		raw := make([]byte, d.IntN(2000))
		for i := range raw {
			raw[i] = byte(d.IntN(256))
		}
		text += string(raw)
	case 2:
		if d.large {
			d.large = false
			text = strings.Repeat(text+"y", 3<<20/(len(text)+1))
		}
	}
	return text + parts[d.IntN(len(parts))]
}

// document draws what a provider may take for JSON.
func (d *texts) document() json.RawMessage {
	text := d.text()
	switch d.below(4) {
	case 0:
		return json.RawMessage(text)
	case 1:
		return json.RawMessage(`{"text":"` + strings.NewReplacer(`"`, "", "\n", "", "\r", "", "\x1b", "", "\x00", "").Replace(text) + `"}`)
	case 2:
		return json.RawMessage(strings.Repeat("[", len(text)%3000) + strings.Repeat("]", len(text)%3000))
	}
	encoded, _ := json.Marshal(map[string]string{text: text}) // texts can be encoded
	return encoded
}

// fail is what foreign code does with a text: it returns an error of one of the kinds, or panics.
func (d *texts) fail() error {
	text := d.text()
	switch d.below(5) {
	case 0:
		return contracts.Permanent(errors.New(text))
	case 1:
		return contracts.Skip(text)
	case 2:
		return contracts.RetryAfter(time.Millisecond, errors.New(text))
	case 3:
		panic(text)
	}
	return errors.New(text)
}

// anything is a provider that says anything wherever it may say something.
type anything struct {
	contracts.NoCredentials
	contracts.TypedMetadata[noted]
	contracts.WebhookDefaults
	*texts
}

// noted are metadata of which every field is free.
type noted struct {
	Text string            `json:"text"`
	More map[string]string `json:"more"`
}

func (anything) Name() string                           { return "Anything" }
func (anything) DefaultSyncInterval() time.Duration     { return time.Hour }
func (anything) DefaultRateLimit() *contracts.RateLimit { return nil }

func (p anything) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	for range 6 {
		event := unread{p.text(), p.document()}
		if p.below(2) == 0 {
			event.eventType = "anything.handled"
		}
		if err := session.Dispatch(ctx, event, p.document(), p.text()); err != nil {
			return err
		}
	}
	p.use(ctx, in)
	if p.below(3) == 0 {
		return p.fail()
	}
	return nil
}

// use has the mappings and the requests of an integration get texts. What they answer does not matter here.
func (p anything) use(ctx context.Context, in *contracts.Integration) {
	_, _, _ = in.Mappings().Ensure(ctx, p.text(), p.text(), p.text())
	_, _ = in.Mappings().Find(ctx, p.text(), p.text())
	keyed, err := contracts.WithIdempotencyKey(ctx, p.text())
	if err != nil {
		keyed = ctx
	}
	req, err := http.NewRequestWithContext(keyed, http.MethodPost, "https://upstream.example/x", strings.NewReader(p.text()))
	if err != nil {
		return
	}
	if answer, err := in.HTTP().Do(req); err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

func (p anything) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) {
	if p.below(3) == 0 {
		return nil, p.fail()
	}
	return contracts.Cursor(p.document()), nil
}

func (anything) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error {
	return nil
}

func (p anything) ResolveWebhookEvent(*contracts.WebhookRequest) (string, bool) {
	return p.text(), true
}

func (p anything) WebhookDeliveryID(*contracts.WebhookRequest) (string, bool) {
	return p.text(), p.below(4) > 0
}

func (p anything) HandleWebhook(ctx context.Context, in *contracts.Integration, _ *contracts.WebhookRequest) (any, error) {
	p.use(ctx, in)
	if p.below(2) == 0 {
		if err := contracts.Dispatch(ctx, unread{p.text(), p.document()}, nil, p.text()); err != nil {
			return nil, err
		}
	}
	if p.below(2) == 0 {
		return nil, p.fail()
	}
	return map[string]string{p.text(): p.text()}, nil
}

// RoundTrip is the upstream, which answers anything.
func (p anything) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	if req.URL.Path != "/x" {
		return p.grant(req), nil
	}
	if p.below(4) == 0 {
		return nil, errors.New(p.text())
	}
	body := p.text()
	return &http.Response{
		StatusCode: []int{200, 400, 404, 422}[p.below(4)], Request: req, Header: http.Header{"X-Says": {p.text()}, "Content-Type": {p.text()}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// TestAnything has every text of every contract be anything, with fixed seeds. After each round the system goes on: its run has ended, a record of another integration is
// stored, and nothing is left in the queues.
func TestAnything(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	p := anything{texts: &texts{Rand: rand.New(rand.NewPCG(0, 0))}}
	f := newHostile(t, func(f *hostile, c *platform.Config) {
		f.browse(c)
		c.Providers["granting"] = newGranting(p.texts)
		c.Providers["anything"], c.Transport, c.WebhookListener, c.Ring = p, p, listener, ring
		c.Handlers = map[string][]itemworker.ItemHandler{"anything.handled": {func(context.Context, *contracts.Integration, []byte) error { return p.fail() }}}
		short := []time.Duration{10 * time.Millisecond}
		c.Syncer.Tries, c.Syncer.Backoff, c.ItemWorker.Tries, c.ItemWorker.Backoff = 2, short, 2, short
		c.ItemWorker.Webhooks.Tries, c.ItemWorker.Webhooks.Backoff = 2, short
		// Deferrals in a row wait longer and longer, and one of five answers is a deferral.
		waits := deferral.Bounds{Least: 10 * time.Millisecond, LeastMost: 100 * time.Millisecond, Most: time.Hour}
		c.Syncer.Waits, c.ItemWorker.Waits = waits, waits
	})
	id := postgres.NewID()
	row := dbsqlc.IntegrationInsertParams{ID: id, Provider: "anything", Name: "anything", Metadata: []byte("{}"), Now: time.Now()}
	if _, err := f.Store.IntegrationInsert(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String() + "/integrations/anything/anything/webhook"
	f.await("the directory", func() bool { return deliver(t, url, "first") == http.StatusOK })
	subjects, accepted := f.endpoints(), 0
	for seed := range uint64(5) {
		p.mu.Lock()
		p.Rand, p.large = rand.New(rand.NewPCG(seed, 7)), true
		p.mu.Unlock()
		t.Logf("seed %d", seed)
		f.anythingOnce(p, id, url)
		f.grantOnce(p.texts, fmt.Sprint("granted", seed))
		accepted += f.operateOnce(p, subjects, fmt.Sprint("victim", seed))
		healthy := fmt.Sprint("healthy", seed)
		f.provider.script.mu.Lock()
		f.provider.script.items = []dispatched{{unread{"platform_test.stored", json.RawMessage(`{"text":"well"}`)}, int(seed), healthy}}
		f.provider.script.mu.Unlock()
		runOnce(t, f.Platform, f.id)
		wantRecord(t, f.Platform, f.id, healthy, "well")
	}
	if accepted == 0 {
		t.Error("no command with a reason was carried out: this test shows nothing of them")
	}
	f.await("empty queues", f.isIdle)
}

// anythingOnce is one round: a run, webhooks, commands and requests of operators.
func (f *hostile) anythingOnce(p anything, id uuid.UUID, url string) {
	f.Helper()
	began := time.Now()
	if err := f.Store.IntegrationSetNextSync(f.Context(), &began, id); err != nil {
		f.Fatal(err)
	}
	for range 6 {
		if code := deliver(f.T, url, p.text()); code >= http.StatusInternalServerError {
			f.Errorf("a webhook is answered with %d", code)
		}
	}
	for _, verb := range events.Verbs() {
		body, _ := json.Marshal(map[string]string{"reason": p.text(), "by": p.text(), "item": p.text(), "webhook": p.text(), "to": p.text(), "mode": p.text()})
		if p.below(3) == 0 {
			body = p.document()
		}
		if verb == events.VerbPause {
			continue // it would hold the healthy run up
		}
		// A message that exceeds what the broker takes never gets in.
		if err := f.nc.Publish(events.CommandSubject(verb, "anything"), body); err != nil && !errors.Is(err, nats.ErrMaxPayload) {
			f.Fatal(err)
		}
	}
	client := api.New(f.nc, time.Minute)
	for range 4 {
		_, err := client.CreateIntegration(f.Context(), api.CreateIntegration{Provider: "anything", Name: p.text(), Owner: p.text(), Metadata: p.document(), By: p.text()})
		if told, ok := errors.AsType[*api.Error](err); ok && told.Code == api.Internal {
			f.Errorf("an integration could not be made: %s", told)
		}
	}
	f.await("the end of the run", func() bool {
		runs, err := f.Store.RunList(f.Context(), dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
		return err == nil && len(runs) == 1 && !runs[0].CreatedAt.Before(began.Truncate(time.Microsecond)) && runs[0].ClosedAt != nil
	})
}

// deliver sends a webhook.
func deliver(t *testing.T, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header["X-Says"] = []string{strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, body[:min(len(body), 1000)])}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		// The ingress may hang up on a body that is too large.
		t.Logf("a webhook of %d bytes: %v", len(body), err)
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// isIdle reports whether no consumer has messages left, no webhook waits, and nothing waits in the outbox.
func (f *hostile) isIdle() bool {
	f.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		f.Fatal(err)
	}
	for stream := range js.StreamNames() {
		for consumer := range js.Consumers(stream) {
			if consumer.NumPending > 0 || consumer.NumAckPending > 0 {
				return false
			}
		}
	}
	var waiting int
	err = f.pool.QueryRow(f.Context(), `select (select count(*) from webhooks where status = 'pending') + (select count(*) from outbox)
		+ (select count(*) from sync_runs where closed_at is null) + (select count(*) from set_aside)`).Scan(&waiting)
	if err != nil {
		f.Fatal(err)
	}
	return waiting == 0
}
