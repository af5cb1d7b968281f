// Package webhookingress takes webhooks in: it verifies each, has the broker store it, and only then answers with 2xx. It needs no database: what it
// knows of integrations is in the directory. What becomes of a webhook then is the item-worker's.
package webhookingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Settings are the numbers that an ingress runs by; [DefaultSettings] has the original's size limit.
type Settings struct {
	// MaxBody is how many bytes a body may have.
	MaxBody int64
	// MaxHeader is how many bytes the headers may have.
	MaxHeader int
	// HeaderTimeout and BodyTimeout are how long the headers and the body may take to arrive.
	HeaderTimeout, BodyTimeout time.Duration
	// StoreTimeout is how long the broker may take: long enough for it to choose another leader, and below the patience of most senders.
	StoreTimeout time.Duration
	// RetryAfter is what a sender is told to wait when the broker can't store.
	RetryAfter time.Duration
	// InFlight is how many requests are taken at a time.
	InFlight int
	// Candidates is how many integrations the address of a provider may stand for: each costs a signature.
	Candidates int
	// Burst is how many refusals, none of which is longer than BurstGap after the one before, raise an event.
	Burst    int
	BurstGap time.Duration
	// Grace is how long requests may go on after the service was told to stop.
	Grace time.Duration
}

// DefaultSettings are the original's size limit, and limits that keep strangers from holding what others need.
func DefaultSettings() Settings {
	return Settings{
		MaxBody: 1 << 20, MaxHeader: 32 << 10, HeaderTimeout: 5 * time.Second, BodyTimeout: 15 * time.Second, StoreTimeout: 8 * time.Second,
		RetryAfter: 10 * time.Second, InFlight: 512, Candidates: 100, Burst: 20, BurstGap: 10 * time.Minute, Grace: 20 * time.Second,
	}
}

// Config is what an ingress is made of.
type Config struct {
	Bus        *bus.Bus
	Directory  *directory.Directory
	Deliveries *delivery.Codec
	Registry   *contracts.Registry
	Log        *slog.Logger
	Metrics    *Metrics
	Tracer     trace.Tracer
	Now        func() time.Time
	// Crash is called at named points; tests end the process there. It may be nil.
	Crash func(point string)
	// Addr is where to listen, unless Listener is given.
	Addr     string
	Listener net.Listener
	// Prefix stands before the routes, such as /integrations.
	Prefix   string
	Settings Settings
}

// Ingress is the service. Any number of them may run.
type Ingress struct {
	Config
	slots    chan struct{}
	refusals *refusals
}

// New returns an ingress.
func New(config Config) *Ingress {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	config.Prefix = "/" + strings.Trim(config.Prefix, "/")
	if config.Prefix == "/" {
		config.Prefix = ""
	}
	return &Ingress{Config: config, slots: make(chan struct{}, config.Settings.InFlight), refusals: newRefusals(config)}
}

// Run listens until ctx ends.
func (g *Ingress) Run(ctx context.Context) error {
	listener := g.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", g.Addr); err != nil {
			return fmt.Errorf("listen for webhooks on %s (choose another with --webhook-addr): %w", g.Addr, err)
		}
	}
	server := &http.Server{
		Handler: g.Handler(), ReadHeaderTimeout: g.Settings.HeaderTimeout, ReadTimeout: g.Settings.HeaderTimeout + g.Settings.BodyTimeout,
		WriteTimeout: g.Settings.BodyTimeout + g.Settings.StoreTimeout + g.Settings.HeaderTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: g.Settings.MaxHeader, ErrorLog: slog.NewLogLogger(g.Log.Handler(), slog.LevelDebug),
	}
	g.Log.Info("taking webhooks", "address", listener.Addr().String(), "path", g.Prefix+"/<provider>/<integration>/webhook")
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.Directory.Run(ctx) })
	group.Go(func() error { return g.refusals.run(ctx) })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve webhooks: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Settings.Grace)
		defer cancel()
		if err := server.Shutdown(closing); err != nil {
			g.Log.Warn("webhooks in flight were cut off; their senders were not answered", "error", err)
		}
		return nil
	})
	return group.Wait()
}

// Handler serves the routes.
func (g *Ingress) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(g.Prefix+"/{provider}/webhook", g.serve)
	mux.HandleFunc(g.Prefix+"/{provider}/{integration}/webhook", g.serve)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { reply(w, unknown("there is nothing here")) })
	return mux
}
