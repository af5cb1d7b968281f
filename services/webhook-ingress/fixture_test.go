package webhookingress_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	"github.com/tributaryhq/tributary/pkg/webhooks"
	webhookingress "github.com/tributaryhq/tributary/services/webhook-ingress"
)

// signed is a provider whose deliveries are signed as GitHub's; "panic" in a body makes it panic, and "hold" makes it wait.
type signed struct {
	contracts.TypedCredentials[webhooks.Secrets]
	contracts.NoMetadata
	contracts.WebhookDefaults
	// verified counts the checks, and over the bytes that they went over.
	verified, over *atomic.Int64
	held           chan struct{}
}

func (signed) Name() string { return "Signed" }

func (p signed) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	p.verified.Add(1)
	p.over.Add(int64(len(req.Body)))
	if strings.Contains(string(req.Body), "hold") {
		<-p.held
	}
	if strings.Contains(string(req.Body), "panic") {
		panic("the verifier panics")
	}
	secrets, err := contracts.CredentialsOf[webhooks.Secrets](in)
	if err != nil {
		return err
	}
	return webhooks.GitHub().Verify(req, secrets.WebhookSecrets()...)
}

func (signed) WebhookDeliveryID(req *contracts.WebhookRequest) (string, bool) {
	id := req.Header.Get("X-Delivery")
	return id, id != ""
}

func (signed) WebhookChallenge(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) ([]byte, bool, error) {
	secrets, err := contracts.CredentialsOf[webhooks.Secrets](in)
	if err != nil {
		return nil, true, err
	}
	return webhooks.MetaChallenge(req, secrets.WebhookSecrets()...)
}

func (signed) HandleWebhook(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
	return nil, errors.New("nothing is handled here")
}

// ResolveWebhookEvent is a word of the provider's own.
func (signed) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	event := req.Header.Get("X-Says")
	return event, event != ""
}

// shared is signed with one secret for many integrations; a delivery names its account, which is an integration's owner.
type shared struct{ signed }

func (shared) WebhookSecrets(in *contracts.Integration) []string {
	secrets, err := contracts.CredentialsOf[webhooks.Secrets](in)
	if err != nil {
		return nil
	}
	return secrets.WebhookSecrets()
}

func (shared) WebhookAccount(req *contracts.WebhookRequest) (string, bool) {
	account := req.Header.Get("X-Account")
	if account == "panic" {
		panic("the account panics")
	}
	return account, account != ""
}

func (shared) IntegrationAccount(in *contracts.Integration) string { return in.Owner() }

// silent takes no webhooks.
type silent struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (silent) Name() string { return "Silent" }

// fixture is an ingress on a NATS of its own, and nothing else.
type fixture struct {
	t        *testing.T
	nats     *natstest.Server
	bus      *bus.Bus
	ring     *secret.Ring
	writer   *directory.Writer
	js       jetstream.JetStream
	verified *atomic.Int64
	over     *atomic.Int64
	held     chan struct{}
	ingress  *webhookingress.Ingress
	settings webhookingress.Settings
	backlog  int64
	url      string
	// alone has the test run beside no other, as what it measures is of the whole process.
	alone bool
}

func newFixture(t *testing.T, adjust ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{t: t, verified: &atomic.Int64{}, over: &atomic.Int64{}, held: make(chan struct{}), settings: webhookingress.DefaultSettings(), backlog: 1 << 20}
	for _, fn := range adjust {
		fn(f)
	}
	if !f.alone {
		t.Parallel()
	}
	f.nats = natstest.New(t)
	var err error
	f.ring, err = secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	f.must(err)
	nc := f.nats.Connect()
	f.bus, err = bus.New(nc, bus.Options{Log: slog.New(slog.DiscardHandler), WebhookBacklog: f.backlog})
	f.must(err)
	f.must(f.bus.Apply(t.Context()))
	f.writer, err = directory.NewWriter(t.Context(), f.bus)
	f.must(err)
	f.js, err = jetstream.New(nc)
	f.must(err)
	f.start()
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// start starts an ingress; a second one has a URL of its own.
func (f *fixture) start() {
	f.t.Helper()
	registry, err := registry.New(f.providers())
	f.must(err)
	metrics, err := webhookingress.NewMetrics(prometheus.NewRegistry())
	f.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	log := slog.New(slog.DiscardHandler)
	g := webhookingress.New(webhookingress.Config{
		Bus: f.bus, Directory: directory.New(f.bus, f.ring, log), Deliveries: delivery.NewCodec(f.ring), Registry: registry, Log: log, Metrics: metrics,
		Tracer: noop.NewTracerProvider().Tracer(""), Now: time.Now, Listener: listener, Prefix: "/integrations", Settings: f.settings,
	})
	f.ingress = g
	ctx, stop := context.WithCancel(context.WithoutCancel(f.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	f.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	})
	f.url = "http://" + listener.Addr().String() + "/integrations/"
}

func (f *fixture) providers() map[string]contracts.Provider {
	p := signed{verified: f.verified, over: f.over, held: f.held}
	all := map[string]contracts.Provider{"signed": p, "shared": shared{p}, "silent": silent{}}
	for i, method := range hangingMethods {
		all[hangingKey(i)] = hanging{shared: shared{p}, in: method}
	}
	return all
}

// put makes an integration of the provider signed, as a scheduler would, and says that all are there.
func (f *fixture) put(name, status string, version int64, secrets webhooks.Secrets) string {
	f.t.Helper()
	return f.putOf("signed", name, "", status, version, secrets)
}

// putOf is put for any provider and owner.
func (f *fixture) putOf(provider, name, owner, status string, version int64, secrets webhooks.Secrets) string {
	f.t.Helper()
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(name))
	plain, err := json.Marshal(secrets)
	f.must(err)
	key, sealed, err := f.ring.Seal(plain, secret.Place{Row: id[:], Version: version})
	f.must(err)
	f.must(f.writer.Put(f.t.Context(), id.String(), func(context.Context) (*eventsv1.DirectoryEntry, error) {
		return &eventsv1.DirectoryEntry{
			IntegrationId: id.String(), Provider: provider, Name: name, Owner: owner, Status: status, KeyId: key, Sealed: sealed, Version: version, CredentialsVersion: version,
		}, nil
	}))
	f.must(f.writer.Complete(f.t.Context()))
	return id.String()
}

func (f *fixture) remove(id string) {
	f.t.Helper()
	f.must(f.writer.Put(f.t.Context(), id, func(context.Context) (*eventsv1.DirectoryEntry, error) { return nil, nil }))
}

type answered struct {
	code   int
	status string
	header http.Header
}

func (f *fixture) do(req *http.Request) answered {
	f.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	f.must(err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	f.must(err)
	var answer struct{ Status, Error string }
	if json.Unmarshal(text, &answer) != nil {
		answer.Status = string(text)
	}
	return answered{code: resp.StatusCode, status: answer.Status + answer.Error, header: resp.Header}
}

// request is a delivery signed with a secret.
func (f *fixture) request(path, id, secret string, body []byte) *http.Request {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+path, strings.NewReader(string(body)))
	f.must(err)
	if id != "" {
		req.Header.Set("X-Delivery", id)
	}
	req.Header.Set("X-Hub-Signature-256", sign(secret, body))
	return req
}

func (f *fixture) send(path, id, secret, body string) answered {
	f.t.Helper()
	return f.do(f.request(path, id, secret, []byte(body)))
}

// await waits until something holds.
func (f *fixture) await(what string, holds func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			f.t.Fatalf("waited a minute for %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// stored are the deliveries on the stream.
func (f *fixture) stored() []*eventsv1.WebhookReceived {
	f.t.Helper()
	stream, err := f.js.Stream(f.t.Context(), wire.StreamWebhooks)
	f.must(err)
	var all []*eventsv1.WebhookReceived
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		msg, err := stream.GetMsg(f.t.Context(), sequence)
		f.must(err)
		m := &eventsv1.WebhookReceived{}
		f.must(proto.Unmarshal(msg.Data, m))
		if want := wire.WebhooksSubject(m.GetProvider(), m.GetIntegrationId()); msg.Subject != want {
			f.t.Errorf("stored under %s, want %s", msg.Subject, want)
		}
		all = append(all, m)
	}
	return all
}
