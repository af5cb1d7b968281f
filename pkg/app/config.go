package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
)

// Config is what every command is configured by: flags, and for each the environment variable that its help names.
// Defaults work on one machine.
type Config struct {
	DatabaseURL      Secret        `help:"URL of Postgres. Without it, dev runs its own." env:"DATABASE_URL" placeholder:"URL"`
	NATSURL          string        `help:"URL of NATS. Without it, dev runs its own, and other commands with the same data folder use that one." name:"nats-url" env:"TRIBUTARY_NATS_URL" placeholder:"URL"`
	NATSCreds        string        `help:"NATS credentials file." name:"nats-creds" env:"TRIBUTARY_NATS_CREDS" type:"existingfile" placeholder:"FILE"`
	NATSReplicas     int           `help:"Copies of each stream: 1 for one node, 3 for a cluster." name:"nats-replicas" env:"TRIBUTARY_NATS_REPLICAS" default:"1" enum:"1,3,5"`
	Keys             Secret        `help:"Encryption keys for credentials, as id:base64[,id:base64…]: the first encrypts, all decrypt. Environment only, because ps shows flags. Without it, a key is made in the data folder." env:"TRIBUTARY_KEYS" placeholder:"RING"`
	KeysFile         string        `help:"File with the key ring." env:"TRIBUTARY_KEYS_FILE" type:"existingfile" placeholder:"FILE"`
	DataDir          string        `help:"Folder for the data of dev." env:"TRIBUTARY_DATA_DIR" default:"data" placeholder:"DIR"`
	HTTPAddr         string        `help:"Address for metrics and health; empty to serve none." name:"http-addr" env:"TRIBUTARY_HTTP_ADDR" default:":8080" placeholder:"ADDR"`
	DrainDelay       time.Duration `help:"How long a stopping service keeps serving webhooks and OAuth routes after it reports not ready, so that load balancers notice." name:"drain-delay" env:"TRIBUTARY_DRAIN_DELAY" default:"0s" placeholder:"DURATION"`
	TrustedProxies   []string      `help:"Networks of trusted proxies, whose X-Forwarded-For names the client of webhooks and OAuth routes: CIDRs, private, loopback." name:"trusted-proxies" env:"TRIBUTARY_TRUSTED_PROXIES" default:"loopback,private" placeholder:"LIST"`
	LogFormat        string        `help:"Format of the log: text or json." env:"TRIBUTARY_LOG_FORMAT" default:"text" enum:"text,json"`
	LogLevel         string        `help:"Lowest level to log: debug, info, warn, error." env:"TRIBUTARY_LOG_LEVEL" default:"info" enum:"debug,info,warn,error"`
	OTLPEndpoint     string        `help:"URL that traces are sent to, by OTLP over HTTP." name:"otlp-endpoint" env:"TRIBUTARY_OTLP_ENDPOINT" placeholder:"URL"`
	AllowNetworks    []string      `help:"Networks that requests to upstreams may reach besides the public internet: CIDRs, private, loopback. Dev allows loopback." name:"allow-networks" env:"TRIBUTARY_ALLOW_NETWORKS" placeholder:"LIST"`
	Proxy            Secret        `help:"URL of a proxy for requests to upstreams, which then has to refuse forbidden addresses. HTTP_PROXY and similar variables are not read." env:"TRIBUTARY_PROXY" placeholder:"URL"`
	Concurrency      int           `help:"Items of each lane that an item-worker handles at a time." env:"TRIBUTARY_CONCURRENCY" default:"64"`
	Runs             int           `help:"Runs of each provider that a syncer enumerates at a time." env:"TRIBUTARY_RUNS" default:"16"`
	Connections      int           `help:"Connections to Postgres." env:"TRIBUTARY_CONNECTIONS" default:"20"`
	Circuit          []string      `help:"When circuits of a provider open: PROVIDER=count:5 after consecutive failures, PROVIDER=rate:30 at a percentage; others open when half of at least 10 requests in a minute fail." env:"TRIBUTARY_CIRCUIT" placeholder:"LIST"`
	MaxResponseBytes int64         `help:"The request log keeps only the size of larger answers; 0 keeps the first 65,530 bytes of each answer." env:"TRIBUTARY_MAX_RESPONSE_BYTES" default:"0" placeholder:"BYTES"`
	KeepRequests     int           `help:"Days that the log of requests to upstreams is kept." env:"TRIBUTARY_KEEP_REQUESTS" default:"90" placeholder:"DAYS"`
	KeepKeys         int           `help:"Days that idempotency keys with a known outcome are kept." env:"TRIBUTARY_KEEP_KEYS" default:"90" placeholder:"DAYS"`
	KeepItems        int           `help:"Days that dead items are kept after they were resolved, and runs after they are finished." env:"TRIBUTARY_KEEP_ITEMS" default:"30" placeholder:"DAYS"`
	KeepWebhooks     int           `help:"Days that finished webhooks are kept." env:"TRIBUTARY_KEEP_WEBHOOKS" default:"30" placeholder:"DAYS"`
	KeepOperations   int           `help:"Days that the business log is kept." env:"TRIBUTARY_KEEP_OPERATIONS" default:"365" placeholder:"DAYS"`
	KeepIncidents    int           `help:"Days that closed incidents are kept." env:"TRIBUTARY_KEEP_INCIDENTS" default:"365" placeholder:"DAYS"`

	DatabaseDirectURL Secret `help:"URL of Postgres without a pooler, if --database-url leads to a pooler such as PgBouncer: for migrations and notifications." name:"database-direct-url" env:"TRIBUTARY_DATABASE_DIRECT_URL" placeholder:"URL"`

	LagBound time.Duration `help:"Longest time of commits that a standby may lack when it takes over: webhooks and commands stay in NATS for that long, and are stored again if they are missing. 0 for one server or a synchronous standby; the same for all services." name:"database-lag-bound" env:"TRIBUTARY_DATABASE_LAG_BOUND" default:"0s" placeholder:"DURATION"`

	OAuth    OAuthConfig   `embed:"" prefix:"oauth-"`
	Webhooks WebhookConfig `embed:"" prefix:"webhook-"`
}

// WebhookConfig is how webhooks are taken in.
type WebhookConfig struct {
	Addr    string `help:"Address for webhooks; dev uses another port if this one is taken." env:"TRIBUTARY_WEBHOOK_ADDR" default:":8090" placeholder:"ADDR"`
	Prefix  string `help:"Path before /<provider>/<integration>/webhook." env:"TRIBUTARY_WEBHOOK_PREFIX" default:"/integrations" placeholder:"PATH"`
	Backlog int    `help:"MiB in NATS for verified webhooks that are not in Postgres yet; the same for all services." env:"TRIBUTARY_WEBHOOK_BACKLOG" default:"512"`

	BodyBudget  int `help:"MiB of memory for the bodies of webhooks that are not stored yet." env:"TRIBUTARY_WEBHOOK_BODY_BUDGET" default:"64"`
	Connections int `help:"Connections that a webhook-ingress keeps open, including idle ones." env:"TRIBUTARY_WEBHOOK_CONNECTIONS" default:"1024"`
}

// maxMiB is a TiB.
const maxMiB = platform.MaxBytes >> 20

// Validate refuses values that make no sense; kong calls it.
func (c *Config) Validate() error {
	for _, number := range []struct {
		name               string
		value, least, most int
	}{
		{"concurrency", c.Concurrency, 1, platform.MaxAtATime},
		{"runs", c.Runs, 1, platform.MaxAtATime},
		{"connections", c.Connections, 5, platform.MaxAtATime},
		{"webhook-backlog", c.Webhooks.Backlog, 1, maxMiB},
		{"webhook-body-budget", c.Webhooks.BodyBudget, 1, maxMiB},
		{"webhook-connections", c.Webhooks.Connections, 1, platform.MaxWebhookConnections},
		{"keep-requests", c.KeepRequests, 1, platform.MaxDays},
		{"keep-keys", c.KeepKeys, 1, platform.MaxDays},
		{"keep-items", c.KeepItems, 1, platform.MaxDays},
		{"keep-webhooks", c.KeepWebhooks, 1, platform.MaxDays},
		{"keep-operations", c.KeepOperations, 1, platform.MaxDays},
		{"keep-incidents", c.KeepIncidents, 1, platform.MaxDays},
	} {
		if number.value < number.least || number.value > number.most {
			return fmt.Errorf("--%s is %d, it can be %d to %d", number.name, number.value, number.least, number.most)
		}
	}
	if c.DrainDelay < 0 || c.DrainDelay > platform.MaxDrainDelay {
		return fmt.Errorf("--drain-delay is %s, it can be 0s to %s", c.DrainDelay, platform.MaxDrainDelay)
	}
	if c.LagBound < 0 || c.LagBound > platform.MaxLagBound {
		return fmt.Errorf("--database-lag-bound is %s, it can be 0s to %s", c.LagBound, platform.MaxLagBound)
	}
	if _, err := outbound.ParseNetworks(c.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if _, err := outbound.ParseNetworks(c.AllowNetworks); err != nil {
		return fmt.Errorf("--allow-networks: %w", err)
	}
	if _, err := c.proxy(); err != nil {
		return err
	}
	if _, err := c.circuits(); err != nil {
		return err
	}
	if c.MaxResponseBytes < 0 {
		return fmt.Errorf("--max-response-bytes is %d, it must not be negative", c.MaxResponseBytes)
	}
	if err := c.OAuth.check(); err != nil {
		return err
	}
	if c.Keys != "" && c.KeysFile != "" {
		return fmt.Errorf("both --keys and --keys-file are given; give one")
	}
	return nil
}

// circuits is how circuits of single providers judge.
func (c *Config) circuits() (map[string]string, error) {
	circuits := map[string]string{}
	for _, one := range c.Circuit {
		provider, how, ok := strings.Cut(one, "=")
		if !ok || provider == "" {
			return nil, fmt.Errorf("--circuit has %q, it must be PROVIDER=count:N or PROVIDER=rate:N", one)
		}
		if _, err := circuit.Parse(how); err != nil {
			return nil, fmt.Errorf("--circuit of %s: %w", provider, err)
		}
		circuits[provider] = how
	}
	return circuits, nil
}

// exposed refuses keys and passwords where every user of the machine can read them: among the arguments of a process.
func exposed(args []string) error {
	for i, arg := range args {
		name, value, hasValue := strings.Cut(arg, "=")
		if !hasValue && i+1 < len(args) {
			value = args[i+1]
		}
		switch name {
		case "--keys":
			return errors.New("keys can't be given on the command line, where ps shows them: set TRIBUTARY_KEYS, or " +
				"give --keys-file")
		case "--database-url", "--database-direct-url", "--nats-url":
			if hasPassword(value) {
				return fmt.Errorf("%s can't have a password on the command line, where ps shows it: set %s instead",
					name,
					map[string]string{
						"--database-url":        "DATABASE_URL",
						"--database-direct-url": "TRIBUTARY_DATABASE_DIRECT_URL",
						"--nats-url":            "TRIBUTARY_NATS_URL",
					}[name])
			}
		}
	}
	return nil
}

// hasPassword reports whether any of several URLs with commas between has a password, or a connection string of
// Postgres does.
func hasPassword(urls string) bool {
	for one := range strings.SplitSeq(urls, ",") {
		_, rest, _ := strings.Cut(one, "://")
		user, _, found := strings.Cut(rest, "@")
		if found && strings.Contains(user, ":") {
			return true
		}
	}
	return strings.Contains(strings.ToLower(urls), "password=")
}

// proxy is what requests to upstreams leave through, or nil.
func (c *Config) proxy() (*url.URL, error) {
	if c.Proxy == "" {
		return nil, nil
	}
	// The parser's error would quote a password.
	proxy, err := url.Parse(string(c.Proxy))
	if err != nil || proxy.Host == "" {
		return nil, errors.New("--proxy is not a URL such as http://proxy.example:3128")
	}
	return proxy, nil
}

// settings are the flags as the front door takes them.
func (c *Config) settings() (tributary.Settings, error) {
	circuits, err := c.circuits()
	if err != nil {
		return tributary.Settings{}, err
	}
	proxy, err := c.proxy()
	if err != nil {
		return tributary.Settings{}, err
	}
	return tributary.Settings{
		Concurrency: c.Concurrency, Runs: c.Runs, Replicas: c.NATSReplicas, LagBound: c.LagBound,
		AllowNetworks: c.AllowNetworks, Proxy: proxy,
		Circuits: circuits, MaxResponseBytes: c.MaxResponseBytes, TrustedProxies: c.TrustedProxies,
		DrainDelay: c.DrainDelay,
		Retention: tributary.Retention{
			Requests: c.KeepRequests, Keys: c.KeepKeys, Items: c.KeepItems, Webhooks: c.KeepWebhooks,
			Operations: c.KeepOperations, Incidents: c.KeepIncidents,
		},
		Webhooks: tributary.Webhooks{
			Addr: c.Webhooks.Addr, Prefix: c.Webhooks.Prefix, Backlog: int64(c.Webhooks.Backlog) << 20,
			BodyBudget: int64(c.Webhooks.BodyBudget) << 20, Connections: c.Webhooks.Connections,
		},
		OAuth: tributary.OAuth{
			Addr: c.OAuth.Addr, URL: c.OAuth.URL, SuccessURL: c.OAuth.SuccessURL,
			ErrorURL: c.OAuth.ErrorURL,
		},
	}, nil
}

// Secret is a value that never shows: not in logs, not in help, not in errors.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Format hides the value from every verb of fmt, also from those that are not for texts.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
