// Package webhookingress takes webhooks in: it verifies each, has the broker store it, and only then answers with 2xx. It needs no database: what it
// knows of integrations is in the directory. What becomes of a webhook then is the item-worker's.
package webhookingress

import (
	"context"
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
	"github.com/tributaryhq/tributary/internal/httpserver"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/share"
)

// Config is what an ingress is made of.
type Config struct {
	Bus        *bus.Bus
	Directory  *directory.Directory
	Deliveries *delivery.Codec
	Registry   *registry.Registry
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
	server   *httpserver.Server
	requests *share.Share[httpserver.Client]
	bodies   *share.Share[httpserver.Client]
	slots    *turns
	checks   *turns
	calls    *calls
	groups   *groups
	refusals *refusals
	backlog  backlog
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
	settings := config.Settings
	g := &Ingress{
		Config: config, requests: share.New[httpserver.Client](int64(settings.Connections)), bodies: share.New[httpserver.Client](settings.BodyBudget),
		slots: newTurns(settings.InFlight), checks: newTurns(settings.Checks),
		calls: newCalls(config), refusals: newRefusals(config),
	}
	g.groups = newGroups(g.calls)
	g.server = httpserver.New(httpserver.Config{
		Name: "webhooks", Handler: g.Handler(), Trusted: settings.TrustedProxy, Log: config.Log,
		Drain: httpserver.Drain{Delay: settings.DrainDelay, Grace: settings.Grace},
		Limits: httpserver.Limits{
			Connections: settings.Connections, HeaderBytes: settings.MaxHeader, HeaderFields: maxHeaderFields, Header: settings.HeaderTimeout,
			Request: settings.HeaderTimeout + settings.BodyTimeout, Idle: httpserver.DefaultLimits().Idle,
			Answer: settings.BodyTimeout + 2*settings.StoreTimeout + settings.HeaderTimeout +
				callsOfRequest*(settings.CallTimeout+callGrace),
		},
	})
	return g
}

// maxHeaderFields is how many header fields a request may have: senders and the proxies on the way add some dozens.
const maxHeaderFields = 200

// Run listens until ctx ends, and then drains: what is under way still finds its integration.
func (g *Ingress) Run(ctx context.Context) error {
	listener := g.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", g.Addr); err != nil {
			return fmt.Errorf("listen for webhooks on %s (choose another with --webhook-addr): %w", g.Addr, err)
		}
	}
	g.Log.Info("taking webhooks", "address", listener.Addr().String(), "path", g.Prefix+"/<provider>/<integration>/webhook")
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	serving, stop := context.WithCancel(failed)
	defer stop()
	group.Go(func() error { return g.Directory.Run(serving) })
	group.Go(func() error { return g.refusals.run(serving) })
	group.Go(func() error { return g.watchBacklog(serving) })
	group.Go(func() error {
		defer stop()
		until, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(failed, cancel)()
		return g.server.Serve(until, listener)
	})
	return group.Wait()
}

// Handler serves the routes.
func (g *Ingress) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(g.Prefix+"/{provider}/webhook", g.serve)
	mux.HandleFunc(g.Prefix+"/{provider}/{integration}/webhook", g.serve)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		closeUnread(w, r)
		reply(w, unknown("there is nothing here"))
	})
	return mux
}
