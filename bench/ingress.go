package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	webhookingress "github.com/tributaryhq/tributary/services/webhook-ingress"

	"github.com/tributaryhq/tributary/providers/github"
)

const (
	hookConnections = 64
	hookBody        = 2 << 10
	hookSecret      = "a secret of the benchmark"
)

// hookCase is what one way of taking deliveries came to in one round.
type hookCase struct {
	rate     float64
	p50, p99 time.Duration
}

// measureIngress compares the ingress with the same checks without a broker, and with the broker alone, each with 64
// callers at a time.
func measureIngress(ctx context.Context, s *servers, opts options) error {
	stand, err := newHookStand(ctx, s)
	if err != nil {
		return err
	}
	defer stand.stop()
	names := []string{"ingress", "(a) the same checks, no broker", "(b) the broker alone, no HTTP"}
	cases := map[string]func(context.Context, string) error{
		names[0]: stand.post(stand.ingress), names[1]: stand.post(stand.bare), names[2]: stand.publish,
	}
	rounds := map[string][]hookCase{}
	for range opts.rounds {
		for _, name := range names {
			c, err := hookRound(ctx, opts.webhooks, cases[name])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			rounds[name] = append(rounds[name], c)
		}
	}
	fmt.Printf("%s Medians of %d rounds of %s; load average %s.\n\n", s.describe(ctx), opts.rounds, opts.webhooks,
		loadAverage())
	fmt.Print("| case | requests/s | p50, ms | p99, ms |\n| --- | ---: | ---: | ---: |\n")
	for _, name := range names {
		c := medianCase(rounds[name])
		fmt.Printf("| %s | %.0f | %.1f | %.1f |\n", name, c.rate, millis(c.p50), millis(c.p99))
	}
	// Behind HTTP, a broker that takes b a second beside checks that take a leaves 1/(1/a + 1/b).
	var ratios []float64
	for i, c := range rounds[names[0]] {
		a, b := rounds[names[1]][i].rate, rounds[names[2]][i].rate
		ratios = append(ratios, c.rate*(1/a+1/b))
	}
	slices.Sort(ratios)
	ratio := ratios[len(ratios)/2]
	fmt.Printf("\nThe ingress takes %.2f of what (b) allows behind (a) (aim ≥ 0.8: %s).\n", ratio,
		verdict(ratio >= 0.8))
	return nil
}

func medianCase(all []hookCase) hookCase {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b hookCase) int { return int(a.rate - b.rate) })
	return all[len(all)/2]
}

// hookRound has callers at work for a while.
func hookRound(ctx context.Context, duration time.Duration, call func(context.Context, string) error) (hookCase,
	error,
) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := time.Now()
	times := make([][]time.Duration, hookConnections)
	var callers sync.WaitGroup
	for caller := range hookConnections {
		callers.Go(func() {
			for time.Since(started) < duration && ctx.Err() == nil {
				begun := time.Now()
				if err := call(ctx, uuid.NewString()); err != nil {
					cancel(err)
					return
				}
				times[caller] = append(times[caller], time.Since(begun))
			}
		})
	}
	callers.Wait()
	took := time.Since(started)
	all := slices.Concat(times...)
	return hookCase{rate: float64(len(all)) / took.Seconds(), p50: quantile(all, 0.5), p99: quantile(all, 0.99)},
		context.Cause(ctx)
}

// hookStand is an ingress on the broker, its checks alone, and a client.
type hookStand struct {
	bus           *bus.Bus
	client        *http.Client
	ingress, bare string
	body          []byte
	signature     string
	integration   string
	sequence      atomic.Int64
	stop          func()
}

func newHookStand(ctx context.Context, s *servers) (*hookStand, error) {
	nc, err := s.nats.Connect(nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	h := &hookStand{
		body: make([]byte, hookBody), integration: uuid.NewString(),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: hookConnections}},
	}
	for i := range h.body {
		h.body[i] = 'a' + byte(i%26)
	}
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write(h.body)
	h.signature = "sha256=" + hex.EncodeToString(mac.Sum(nil))
	if h.bus, err = bus.New(nc, bus.Options{Log: log, WebhookBacklog: 8 << 30}); err != nil {
		return nil, err
	}
	if err := h.bus.Apply(ctx); err != nil {
		return nil, err
	}
	ring, err := newRing()
	if err != nil {
		return nil, err
	}
	if err := h.enter(ctx, ring); err != nil {
		return nil, err
	}
	registry, err := registry.New(map[string]contracts.Provider{"github": github.Provider{}})
	if err != nil {
		return nil, err
	}
	metrics, err := webhookingress.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	known := directory.New(h.bus, ring, log)
	config := webhookingress.Config{
		Bus: h.bus, Directory: known, Deliveries: delivery.NewCodec(ring), Registry: registry, Log: log,
		Metrics: metrics, Tracer: noop.NewTracerProvider().Tracer(""),
		Now: time.Now, Prefix: "/integrations", Settings: webhookingress.DefaultSettings(),
	}
	if config.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	h.ingress = "http://" + config.Listener.Addr().String() + "/integrations/github/bench/webhook"
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- webhookingress.New(config).Run(running) }()
	bare, err := h.serveBare(known)
	if err != nil {
		stop()
		return nil, err
	}
	h.stop = func() {
		_ = bare.Close()
		stop()
		<-done
		nc.Close()
	}
	return h, h.await(ctx)
}

func newRing() (*secret.Ring, error) {
	raw := make([]byte, secret.KeyBytes)
	_, _ = rand.Read(raw)
	return secret.ParseRing("bench:" + base64.StdEncoding.EncodeToString(raw))
}

// enter puts the integration into the directory.
func (h *hookStand) enter(ctx context.Context, ring *secret.Ring) error {
	id, err := uuid.Parse(h.integration)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(map[string]string{"token": "a token of twenty bytes", "webhook_secret": hookSecret})
	if err != nil {
		return err
	}
	keyID, sealed, err := ring.Seal(plain, secret.Place{Row: id[:]})
	if err != nil {
		return err
	}
	writer, err := directory.NewWriter(ctx, h.bus)
	if err != nil {
		return err
	}
	err = writer.Put(ctx, h.integration, func(context.Context) (*eventsv1.DirectoryEntry, error) {
		return &eventsv1.DirectoryEntry{
			IntegrationId: h.integration, Provider: "github", Name: "bench",
			Status: "active", KeyId: keyID, Sealed: sealed,
		}, nil
	})
	if err != nil {
		return err
	}
	return writer.Complete(ctx)
}

// serveBare reads, verifies and answers as the ingress does, and stores nothing.
func (h *hookStand) serveBare(known *directory.Directory) (*http.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h.bare = "http://" + listener.Addr().String()
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
			req := &contracts.WebhookRequest{
				Method: r.Method, Header: r.Header.Clone(), Body: body,
				ReceivedAt: time.Now(),
			}
			if err != nil || (github.Provider{}).VerifyWebhookSignature(r.Context(), known.Find("bench").Integration,
				req) != nil {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"status":"queued"}`)
		}),
	}
	go func() { _ = server.Serve(listener) }()
	return server, nil
}

// await waits until the ingress knows the integration.
func (h *hookStand) await(ctx context.Context) error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := h.post(h.ingress)(ctx, "first")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (h *hookStand) post(url string) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(h.body))
		if err != nil {
			return err
		}
		req.Header["X-Github-Event"], req.Header["X-Github-Delivery"],
			req.Header["X-Hub-Signature-256"] = []string{"issues"}, []string{id}, []string{h.signature}
		resp, err := h.client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %s: %w", resp.Status, err)
		}
		return nil
	}
}

// publish has the broker store a message of the same size, and waits for it.
func (h *hookStand) publish(ctx context.Context, id string) error {
	_, err := h.bus.Offer(ctx, wire.Message{
		Subject: wire.WebhooksSubject("github", h.integration),
		ID:      strconv.FormatInt(h.sequence.Add(1), 10) + id, Body: h.body,
	})
	return err
}
