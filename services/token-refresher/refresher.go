// Package tokenrefresher owns the OAuth2 life of every integration: it sends users to authorize, exchanges their codes, refreshes tokens ahead of their
// expiry and on demand, and revokes. It also seals all credentials anew when keys are rotated.
//
// A refresh token may be good for one use only, so that two uses, or one whose answer is lost, cost the user's grant. Hence the order of a refresh:
// one statement takes the lease of the grant, raises its fence and writes down the intent; then the refresh token is sent, once; then one transaction, which the
// fence must allow, stores the new tokens. Nobody can use the new access token before the new refresh token is stored, for that is where they read
// it. See docs/oauth.md.
package tokenrefresher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/share"
	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// serviceName is who acts, in the audit, when no person does.
const serviceName = "token-refresher"

// Settings are the numbers and addresses that a refresher runs by; see [DefaultSettings].
type Settings struct {
	// Addr is where the HTTP routes are served; empty for nowhere.
	Addr string
	// PublicURL is what users' browsers and the upstreams know that address by. The callback is below it.
	PublicURL string
	// SuccessURL and ErrorURL are where browsers are sent in the end; empty shows a page.
	SuccessURL, ErrorURL string

	// Tick is how often due grants are looked for, Sweep how often all else is.
	Tick, Sweep time.Duration
	// Concurrency is how many tokens a process gets at a time. Providers share it: one alone has half.
	Concurrency int
	// Call is how long an upstream has for one token. Lease is how long nobody else touches a grant after its holder was last heard of, and Renew how often a
	// holder says that it lives: a process that dies blocks the grants that it worked on for one Lease.
	Call, Lease, Renew time.Duration
	// Young is the age up to which a token that the upstream refuses is not replaced; but never more than a quarter of its life. An upstream that answers
	// 401 to everything must not cost a refresh for every request.
	Young time.Duration
	// Backoff is the wait after the first refresh that failed; it doubles up to BackoffMost.
	Backoff, BackoffMost time.Duration
	// Waits bound how long a token endpoint or a provider can have a refresh wait.
	Waits deferral.Bounds
	// Floor is the least time between two refreshes of a grant whose tokens hardly last; it doubles from one to the next, up to BackoffMost.
	Floor time.Duration
	// RefusedFor is after how long a grant is given up whose upstream answers, refuses to refresh, and does not say that the grant has ended.
	RefusedFor time.Duration
	// TroubleAfter is after how many refreshes on end that failed an incident says so.
	TroubleAfter int32
	// StateLife is how long a user may take between start and callback: 600 s, as in the original. LinkLife is how long a link may wait for its user.
	StateLife, LinkLife time.Duration
	// RevokeFor is how long it is tried to revoke the grant of a deleted integration.
	RevokeFor time.Duration
	// AuditKeep is how long the audit is kept.
	AuditKeep time.Duration
	// LockWait is how long a step of the sweep waits for a lock that another transaction holds. What an upstream has
	// answered waits longer.
	LockWait time.Duration
	// Grace is how long a refresh may go on after the service was told to stop.
	Grace time.Duration
	// DrainDelay is how long the routes are still served after that, while load balancers notice that the process is not ready.
	DrainDelay time.Duration
	// TrustedProxy reports whether an address is that of a proxy whose X-Forwarded-For counts. Nil trusts none.
	TrustedProxy func(netip.Addr) bool
}

// DefaultSettings are the original's numbers where it has any.
func DefaultSettings() Settings {
	return Settings{
		Addr: ":8082", PublicURL: "http://127.0.0.1:8082",
		Tick: 500 * time.Millisecond, Sweep: 5 * time.Second, Concurrency: 64,
		Call: 20 * time.Second, Lease: 15 * time.Second, Renew: 3 * time.Second, Young: 10 * time.Second,
		Waits:   deferral.Default(),
		Backoff: 5 * time.Second, BackoffMost: 5 * time.Minute, TroubleAfter: 3,
		Floor: 10 * time.Second, RefusedFor: time.Hour,
		StateLife: 600 * time.Second, LinkLife: 15 * time.Minute,
		RevokeFor: 7 * 24 * time.Hour, AuditKeep: 400 * 24 * time.Hour, LockWait: 5 * time.Second, Grace: 25 * time.Second,
	}
}

// Config is what a refresher is made of.
type Config struct {
	Bus       *bus.Bus
	Store     *postgres.Store
	Registry  *registry.Registry
	Validator *validate.Validator
	// SetAside is the work that fails, so that the rest proceeds.
	SetAside *setaside.Set
	// Shadows keep the newest tokens, should Postgres forget.
	Shadows Cells
	// Transport sends the requests for tokens, each once.
	Transport http.RoundTripper
	Log       *slog.Logger
	Metrics   *Metrics
	Now       func() time.Time
	// Crash is called at named points; tests end the process there. It may be nil.
	Crash    func(point string)
	Settings Settings
}

// Refresher is the service. Any number of them may run.
type Refresher struct {
	Config
	holder string
	client *http.Client
	flows  map[string]contracts.OAuth2
	// thresholds are the providers' refresh thresholds; 0 is the default.
	thresholds map[string]time.Duration
	keys       []string
	// slots are divided among the providers.
	slots *share.Share[string]
	// suspects has the providers of which a grant is worked on whose holder died.
	suspects sync.Map
	kicked   chan struct{}
	// lacking says that a provider has due grants and no room for them.
	lacking atomic.Bool
	asking  singleflight.Group
	// measured is when the gauges were read; the sweep alone looks at it.
	measured time.Time
	// compared says that the shadows were compared with the database, and comparedAfter which absence of Postgres was
	// the last before that. Only the sweep uses them.
	compared      bool
	comparedAfter *time.Time
	// missing names the keys that are not in the ring though they have sealed something, as they were logged.
	missing string
	working sync.WaitGroup
	leases  leases
	// away is when Postgres was away last; nil for never.
	away atomic.Pointer[time.Time]
	// work is for refreshes under way, which end later than the service's own context.
	work context.Context
}

// New returns a refresher for the OAuth2 providers of the registry.
func New(config Config) (*Refresher, error) {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	host, _ := os.Hostname()
	r := &Refresher{
		Config: config, holder: fmt.Sprintf("%s/%d", cmp.Or(host, "?"), os.Getpid()), flows: map[string]contracts.OAuth2{}, thresholds: map[string]time.Duration{}, keys: []string{},
		client: &http.Client{Transport: &dated{next: config.Transport, now: config.Now}, Timeout: config.Settings.Call},
		slots:  share.New[string](int64(config.Settings.Concurrency)), kicked: make(chan struct{}, 1), work: context.Background(),
	}
	for _, key := range config.Registry.Keys() {
		provider, err := config.Registry.Provider(key)
		if err != nil {
			return nil, err
		}
		if flow, ok := provider.(contracts.OAuth2); ok {
			r.flows[key], r.thresholds[key] = flow, flow.RefreshThreshold()
			r.keys = append(r.keys, key)
		}
	}
	slices.Sort(r.keys)
	return r, nil
}

// Run refreshes until ctx ends. A refresh that is under way then is brought to its end.
func (r *Refresher) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r.work = work
	keeping, kept := context.WithCancel(context.WithoutCancel(ctx))
	var keeper errgroup.Group
	keeper.Go(func() error { return r.keepLeases(keeping) })
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return loop.Every(ctx, r.Log, "refresh tokens", r.Settings.Tick, r.kicked, r.refreshDue) })
	group.Go(func() error { return loop.Every(ctx, r.Log, "sweep", r.Settings.Sweep, nil, r.sweep) })
	group.Go(func() error { return r.serveAPI(ctx) })
	group.Go(func() error { return r.serveHTTP(ctx) })
	err := group.Wait()
	hurry := time.AfterFunc(r.Settings.Grace, stop)
	defer hurry.Stop()
	r.working.Wait()
	kept()
	return errors.Join(err, keeper.Wait())
}

// sweep is for what no clock of a grant announces.
func (r *Refresher) sweep(ctx context.Context) error {
	ctx = postgres.BoundLocks(ctx, r.Settings.LockWait)
	return errors.Join(r.compareShadows(ctx), r.adoptChanged(ctx), r.holdStrays(ctx), r.revokeDeleted(ctx), r.forget(ctx), r.measure(ctx))
}

// forget drops what has had its time.
func (r *Refresher) forget(ctx context.Context) error {
	var problems []error
	if _, err := r.Store.StateForget(ctx, r.Now()); err != nil {
		problems = append(problems, fmt.Errorf("forget expired states: %w", err))
	}
	if _, err := r.Store.LinkForget(ctx, r.Now()); err != nil {
		problems = append(problems, fmt.Errorf("forget expired links: %w", err))
	}
	if _, err := r.Store.AuditForget(ctx, r.Now().Add(-r.Settings.AuditKeep), forgetAtATime); err != nil {
		problems = append(problems, fmt.Errorf("forget old audit entries: %w", err))
	}
	return errors.Join(problems...)
}

// forgetAtATime bounds the audit entries that one sweep drops.
const forgetAtATime = 1000
