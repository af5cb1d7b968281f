package tributary

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/control/housekeeping"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
)

// Settings are numbers and addresses. The zero value of a field means its default.
type Settings struct {
	// Concurrency is how many items of each lane an item-worker has in work at a time: 64.
	Concurrency int
	// Runs is how many runs of each provider a syncer enumerates at a time: 16.
	Runs int
	// Replicas is the number of copies of each stream: 1, or 3 or 5 in a cluster of NATS.
	Replicas int
	// LagBound is for how long a commit of Postgres may be missing on a standby that takes over: webhooks and commands
	// stay in NATS for that long. It is 0 for one server or a synchronous standby, and the same for all processes.
	LagBound time.Duration
	// AllowNetworks are the networks beside the public internet that requests to upstreams may go to: CIDRs, "private",
	// "loopback".
	AllowNetworks []string
	// Proxy is for requests to upstreams, and then guards where they go. HTTP_PROXY and the like are not read.
	Proxy *url.URL
	// Circuits say by provider how circuits judge: "count:5" for failures in a row, "rate:30" for percent. Others open
	// at half of at least 10 requests in a minute.
	Circuits map[string]string
	// MaxResponseBytes is from which size on an answer leaves only its size in the request log; 0 keeps the beginning
	// of each.
	MaxResponseBytes int64
	// Retention is for how many days a scheduler keeps what is finished.
	Retention Retention
	// Webhooks is how a webhook-ingress is reached.
	Webhooks Webhooks
	// OAuth is how a token-refresher is reached.
	OAuth OAuth
	// TrustedProxies are the networks of proxies whose X-Forwarded-For names the client of a webhook or an OAuth route:
	// CIDRs, "private", "loopback". None is trusted by default.
	TrustedProxies []string
	// DrainDelay is how long webhooks and OAuth routes are still served when the context has ended, so that load
	// balancers notice that the process is not ready.
	DrainDelay time.Duration
}

// Retention is for how many days things are kept. 0 means the default.
type Retention = housekeeping.Retention

// Webhooks is how webhooks are taken in.
type Webhooks struct {
	// Addr is where webhooks come in, such as ":8090". A Listener, which the runtime closes, takes its place.
	Addr     string
	Listener net.Listener
	// Prefix stands before /<provider>/<integration>/webhook: "/integrations".
	Prefix string
	// Backlog is how many bytes of verified webhooks NATS may hold until they are in Postgres: 512 MiB. It is the same
	// for all processes.
	Backlog int64
	// BodyBudget is how many bytes the bodies of webhooks may take in memory: 64 MiB.
	BodyBudget int64
	// Connections is how many connections are kept open: 1,024.
	Connections int
}

// OAuth is how users authorize integrations.
type OAuth struct {
	// Addr is where the OAuth routes are served; empty for nowhere.
	Addr string
	// URL is what browsers and upstreams know that address by. Upstreams send users back to
	// <URL>/integrations/oauth/callback.
	URL string
	// SuccessURL and ErrorURL are where users are sent in the end; without them, to a page that says how it went.
	SuccessURL, ErrorURL string
}

// check refuses what makes no sense for some services.
func (s *Settings) check(services []string) error {
	for _, number := range []struct {
		name        string
		value, most int64
	}{
		{"Concurrency", int64(s.Concurrency), platform.MaxAtATime},
		{"Runs", int64(s.Runs), platform.MaxAtATime},
		{"MaxResponseBytes", s.MaxResponseBytes, math.MaxInt64},
		{"Retention.Requests", int64(s.Retention.Requests), platform.MaxDays},
		{"Retention.Keys", int64(s.Retention.Keys), platform.MaxDays},
		{"Retention.Items", int64(s.Retention.Items), platform.MaxDays},
		{"Retention.Webhooks", int64(s.Retention.Webhooks), platform.MaxDays},
		{"Retention.Operations", int64(s.Retention.Operations), platform.MaxDays},
		{"Retention.Incidents", int64(s.Retention.Incidents), platform.MaxDays},
		{"Webhooks.Backlog", s.Webhooks.Backlog, platform.MaxBytes},
		{"Webhooks.BodyBudget", s.Webhooks.BodyBudget, platform.MaxBytes},
		{"Webhooks.Connections", int64(s.Webhooks.Connections), platform.MaxWebhookConnections},
	} {
		if number.value < 0 || number.value > number.most {
			return fmt.Errorf("tributary.Config.%s is %d: it can be 1 to %d, and 0 means the default", number.name,
				number.value, number.most)
		}
	}
	if s.LagBound < 0 || s.LagBound > platform.MaxLagBound {
		return fmt.Errorf("tributary.Config.LagBound is %s: it can be 0s to %s", s.LagBound, platform.MaxLagBound)
	}
	if s.DrainDelay < 0 || s.DrainDelay > platform.MaxDrainDelay {
		return fmt.Errorf("tributary.Config.DrainDelay is %s: it can be 0s to %s", s.DrainDelay, platform.MaxDrainDelay)
	}
	switch {
	case !slices.Contains([]int{0, 1, 3, 5}, s.Replicas):
		return fmt.Errorf("tributary.Config.Replicas is %d: it can be 1, or 3 or 5 in a cluster", s.Replicas)
	case slices.Contains(services, WebhookIngress) && s.Webhooks.Addr == "" && s.Webhooks.Listener == nil:
		return missing("Webhooks.Addr",
			`say where webhooks come in, such as ":8090", or leave WebhookIngress out of Services`)
	case s.OAuth.Addr != "" && s.OAuth.URL == "":
		return missing("OAuth.URL", "say what browsers know OAuth.Addr by, such as https://app.example.com")
	}
	return s.apply(&platform.Config{})
}

// apply sets what is not zero.
func (s *Settings) apply(config *platform.Config) error {
	networks, err := outbound.ParseNetworks(s.AllowNetworks)
	if err != nil {
		return fmt.Errorf("tributary.Config.AllowNetworks: %w", err)
	}
	config.Egress = outbound.Egress{Networks: networks, Proxy: s.Proxy}
	proxies, err := outbound.ParseNetworks(s.TrustedProxies)
	if err != nil {
		return fmt.Errorf("tributary.Config.TrustedProxies: %w", err)
	}
	config.Circuits = map[string]circuit.Settings{}
	for provider, how := range s.Circuits {
		if config.Circuits[provider], err = circuit.Parse(how); err != nil {
			return fmt.Errorf("tributary.Config.Circuits of %s: %w", provider, err)
		}
	}
	override(&config.ItemWorker.Concurrency, s.Concurrency)
	override(&config.Syncer.Runs, s.Runs)
	override(&config.Replicas, s.Replicas)
	override(&config.Timing.LagBound, s.LagBound)
	override(&config.Requests.MaxResponseBytes, s.MaxResponseBytes)
	kept := &config.Control.Housekeeping.Retention
	override(&kept.Requests, s.Retention.Requests)
	override(&kept.Keys, s.Retention.Keys)
	override(&kept.Items, s.Retention.Items)
	override(&kept.Webhooks, s.Retention.Webhooks)
	override(&kept.Operations, s.Retention.Operations)
	override(&kept.Incidents, s.Retention.Incidents)
	config.WebhookListener = s.Webhooks.Listener
	override(&config.WebhookAddr, s.Webhooks.Addr)
	override(&config.WebhookPrefix, s.Webhooks.Prefix)
	override(&config.WebhookBacklog, s.Webhooks.Backlog)
	override(&config.Ingress.BodyBudget, s.Webhooks.BodyBudget)
	override(&config.Ingress.Connections, s.Webhooks.Connections)
	config.Ingress.DrainDelay, config.Ingress.TrustedProxy = s.DrainDelay, proxies.Contain
	oauth := &config.TokenRefresher
	oauth.DrainDelay, oauth.TrustedProxy = s.DrainDelay, proxies.Contain
	oauth.Addr, oauth.SuccessURL, oauth.ErrorURL = s.OAuth.Addr, s.OAuth.SuccessURL, s.OAuth.ErrorURL
	override(&oauth.PublicURL, s.OAuth.URL)
	return nil
}

// override sets a setting to a value that is given.
func override[T comparable](setting *T, given T) {
	if none := *new(T); given != none {
		*setting = given
	}
}
