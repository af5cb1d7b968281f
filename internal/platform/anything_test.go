package platform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

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

func (anything) DefaultSyncInterval() time.Duration { return time.Hour }

func (p anything) Name() string {
	if !p.isRunning() {
		return "Anything"
	}
	p.note("Name")
	return p.text()
}

func (p anything) DefaultRateLimit() *contracts.RateLimit {
	p.note("DefaultRateLimit")
	return nil
}

func (p anything) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	p.note("Sync")
	return p.enumerate(ctx, in, session)
}

func (p anything) enumerate(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	if p.below(3) == 0 {
		// With dead items there is nothing to reduce.
		return session.Dispatch(ctx, unread{"anything.well", json.RawMessage("{}")}, 1, p.text())
	}
	for range 6 {
		event := told{unread{p.text(), p.document()}, p.texts}
		if p.below(2) == 0 {
			event.eventType = "anything.handled"
		}
		p.note("Dispatch")
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

func (p anything) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) {
	p.note("ReduceCheckpoints")
	if p.below(3) == 0 {
		return nil, p.fail()
	}
	return contracts.Cursor(p.document()), nil
}

func (p anything) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error {
	p.note("VerifyWebhookSignature")
	if p.below(6) == 0 {
		return p.fail()
	}
	return nil
}

func (p anything) ResolveWebhookEvent(*contracts.WebhookRequest) (string, bool) {
	p.asked("ResolveWebhookEvent")
	if p.below(2) == 0 {
		return p.handled[p.below(len(p.handled))], true
	}
	return p.text(), p.below(2) == 0
}

func (p anything) WebhookDeliveryID(*contracts.WebhookRequest) (string, bool) {
	p.asked("WebhookDeliveryID")
	return p.text(), p.below(4) > 0
}

func (p anything) HandleWebhook(ctx context.Context, in *contracts.Integration, _ *contracts.WebhookRequest) (any, error) {
	p.note("HandleWebhook")
	p.use(ctx, in)
	if p.below(2) == 0 {
		if err := contracts.Dispatch(ctx, told{unread{p.text(), p.document()}, p.texts}, p.document(), p.text()); err != nil {
			return nil, err
		}
	}
	if p.below(2) == 0 {
		return nil, p.fail()
	}
	return map[string]string{p.text(): p.text()}, nil
}

// TestAnything has every text of every contract be anything, with fixed seeds: a few, or as many as the environment asks
// for. After each round the system goes on: its run has ended, a record of another integration is stored, and nothing is
// left in the queues. The rounds go on until every method of every contract was called.
func TestAnything(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newAnything()
	f := newHostile(t, func(f *hostile, c *platform.Config) {
		f.browse(c)
		p.configure(t, c, listener)
	})
	names := []string{"anything", "folding"}
	base := "http://" + listener.Addr().String() + "/integrations/"
	for _, name := range names {
		f.insert(name)
		f.await("the directory", func() bool { return deliver(t, base+name+"/"+name+"/webhook", "first") == http.StatusOK })
	}
	subjects, accepted := f.endpoints(), 0
	uncalled := p.uncalled(t)
	for seed := uint64(0); seed < rounds(t) || len(uncalled) > 0 && seed < mostRounds; seed++ {
		p.begin(seed)
		t.Logf("seed %d, not called yet: %s", seed, uncalled)
		for _, name := range names {
			f.anythingOnce(p, name, base)
		}
		f.grantOnce(p.texts, fmt.Sprint("granted", seed))
		accepted += f.operateOnce(p, subjects, fmt.Sprint("victim", seed))
		healthy := fmt.Sprint("healthy", seed)
		f.provider.script.mu.Lock()
		f.provider.script.items = []dispatched{{unread{"platform_test.stored", json.RawMessage(`{"text":"well"}`)}, int(seed), healthy}}
		f.provider.script.mu.Unlock()
		runOnce(t, f.Platform, f.id)
		wantRecord(t, f.Platform, f.id, healthy, "well")
		uncalled = p.uncalled(t)
	}
	if accepted == 0 {
		t.Error("no command with a reason was carried out: this test shows nothing of them")
	}
	if len(uncalled) > 0 {
		t.Errorf("nothing is shown of these methods of contracts, for they were not called: %s", uncalled)
	}
	f.await("empty queues", f.isIdle)
}

// roundsVariable is for how many rounds `make prove` asks.
const roundsVariable = "TRIBUTARY_ANYTHING_ROUNDS"

func rounds(t *testing.T) uint64 {
	t.Helper()
	asked, isAsked := os.LookupEnv(roundsVariable)
	if !isAsked {
		return 3
	}
	n, err := strconv.ParseUint(asked, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", roundsVariable, err)
	}
	return n
}

// mostRounds is after how many rounds a method that was not called never will be.
const mostRounds = 50

func newAnything() anything {
	p := anything{texts: &texts{Rand: rand.New(rand.NewPCG(0, 0))}}
	for range 4 {
		p.handled = append(p.handled, p.text())
	}
	return p
}

// configure has a platform serve the providers, and repeat in a hurry what failed.
func (p anything) configure(t *testing.T, c *platform.Config, listener net.Listener) {
	t.Helper()
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(c.Providers, p.providers())
	c.Transport, c.WebhookListener, c.Ring = p, listener, ring
	c.Handlers = map[string][]itemworker.ItemHandler{"anything.handled": {func(context.Context, *contracts.Integration, []byte) error { return p.fail() }}}
	short := []time.Duration{10 * time.Millisecond}
	c.Syncer.Tries, c.Syncer.Backoff, c.ItemWorker.Tries, c.ItemWorker.Backoff = 2, short, 2, short
	c.ItemWorker.Webhooks.Tries, c.ItemWorker.Webhooks.Backoff = 2, short
	// Deferrals in a row wait longer and longer, and one of five answers is a deferral.
	waits := deferral.Bounds{Least: 10 * time.Millisecond, LeastMost: 100 * time.Millisecond, Most: time.Hour}
	c.Syncer.Waits, c.ItemWorker.Waits = waits, waits
}

func (p anything) providers() map[string]contracts.Provider {
	granting := newGranting(p.texts)
	return map[string]contracts.Provider{"anything": p, "folding": folding{p}, "granting": granting, "unattended": unattended{granting}}
}

// insert makes an integration that has the name of its provider.
func (f *hostile) insert(provider string) {
	f.Helper()
	id := postgres.NewID()
	row := dbsqlc.IntegrationInsertParams{ID: id, Provider: provider, Name: provider, Metadata: []byte("{}"), Now: time.Now()}
	if _, err := f.Store.IntegrationInsert(f.Context(), row); err != nil {
		f.Fatal(err)
	}
}

// anythingOnce is one round: a run, webhooks, commands and requests of operators.
func (f *hostile) anythingOnce(p anything, name, base string) {
	f.Helper()
	began := time.Now()
	row, err := f.Store.IntegrationGetByName(f.Context(), name)
	if err != nil {
		f.Fatal(err)
	}
	id := row.ID
	if _, err := f.pool.Exec(f.Context(), "update integrations set sync_cursor = '1' where id = $1", id); err != nil {
		f.Fatal(err)
	}
	if err := f.Store.IntegrationSetNextSync(f.Context(), &began, id); err != nil {
		f.Fatal(err)
	}
	for range 6 {
		if code := deliver(f.T, base+name+"/"+name+"/webhook", p.text()); code >= http.StatusInternalServerError {
			f.Errorf("a webhook is answered with %d", code)
		}
		// A provider that can't say what a webhook is about has its sender come again.
		if code := deliver(f.T, base+name+"/webhook", p.text()); code > http.StatusInternalServerError {
			f.Errorf("a webhook to all is answered with %d", code)
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
		if err := f.nc.Publish(events.CommandSubject(verb, name), body); err != nil && !errors.Is(err, nats.ErrMaxPayload) {
			f.Fatal(err)
		}
	}
	client := api.New(f.nc, time.Minute)
	f.healthOf(client, name, name)
	for range 4 {
		f.command(client, events.VerbRecover, &eventsv1.Command{Integration: name, Since: "2026-01-31T00:00:00Z"})
	}
	if p.below(3) == 0 {
		// It wins over a sync from a time.
		f.command(client, events.VerbSync, &eventsv1.Command{Integration: name, Mode: "full"})
	}
	for range 4 {
		_, err := client.CreateIntegration(f.Context(), api.CreateIntegration{Provider: name, Name: p.text(), Owner: p.text(), Metadata: p.document(), By: p.text()})
		if told, ok := errors.AsType[*api.Error](err); ok && told.Code == api.Internal {
			f.Errorf("an integration could not be made: %s", told)
		}
	}
	f.await("the end of the run", func() bool {
		runs, err := f.Store.RunList(f.Context(), dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
		return err == nil && len(runs) == 1 && !runs[0].CreatedAt.Before(began.Truncate(time.Microsecond)) && runs[0].ClosedAt != nil
	})
}

// healthOf has a provider say how its upstream is, and who the integration is there.
func (f *hostile) healthOf(client *api.Client, integration, provider string) {
	f.Helper()
	if _, err := client.TestHealth(f.Context(), integration, provider); err != nil {
		f.Errorf("the health of %s could not be tested: %v", integration, err)
	}
	if _, err := client.Health(f.Context(), integration, provider); err != nil {
		f.Errorf("the health of %s could not be had: %v", integration, err)
	}
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
