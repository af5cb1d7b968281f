package registry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// named is the smallest provider there is.
type named struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (named) Name() string { return "Named" }

// synced can be synced; fields vary what the registry looks at.
type synced struct {
	named
	contracts.MaxTime
	interval time.Duration
	limit    *contracts.RateLimit
}

func (synced) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

func (s synced) DefaultSyncInterval() time.Duration { return s.interval }

func (s synced) DefaultRateLimit() *contracts.RateLimit { return s.limit }

// typed has credentials and metadata as told.
type typed struct {
	named
	credentials, metadata func() any
}

func (p typed) CredentialData() any { return p.credentials() }
func (p typed) MetadataData() any   { return p.metadata() }

type account struct{ Token string }

func none() any     { return nil }
func fresh() any    { return new(account) }
func value() any    { return account{} }
func typedNil() any { return (*account)(nil) }
func panics() any   { panic("not now") }

type limited struct {
	named
	limit *contracts.RateLimit
}

func (p limited) RateLimit() *contracts.RateLimit { return p.limit }

func TestNewAcceptsWhatIsRight(t *testing.T) {
	providers := map[string]contracts.Provider{
		"named":                 named{},
		"pointer":               &named{},
		"synced":                synced{interval: time.Minute},
		"limited-sync":          synced{interval: 90 * time.Minute, limit: contracts.PerMinute(700).Sliding()},
		"limited":               limited{limit: contracts.Per(100, time.Second)},
		"unlimited":             limited{},
		"typed":                 typed{credentials: fresh, metadata: none},
		"0":                     named{},
		strings.Repeat("a", 63): named{},
	}
	registry, err := registry.New(providers)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0", strings.Repeat("a", 63), "limited", "limited-sync", "named", "pointer", "synced", "typed",
		"unlimited",
	}
	if diff := cmp.Diff(want, registry.Keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if got, err := registry.Provider("pointer"); err != nil || got != providers["pointer"] {
		t.Errorf("Provider(pointer) = %v, %v; want the provider as it was given", got, err)
	}
	delete(providers, "named")
	if !registry.Has("named") || registry.Has("other") {
		t.Error("Has(named) must be true and Has(other) false")
	}
}

func TestUnknownProviderSuggestsAndLists(t *testing.T) {
	two, err := registry.New(map[string]contracts.Provider{"github": named{}, "stripe": named{}})
	if err != nil {
		t.Fatal(err)
	}
	empty, err := registry.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		registry  *registry.Registry
		key, want string
	}{
		{two, "gihtub", `unknown provider "gihtub": did you mean "github"? this binary has github, stripe`},
		{two, "zendesk", `unknown provider "zendesk": this binary has github, stripe`},
		{two, "", `unknown provider "": this binary has github, stripe`},
		{empty, "github", `unknown provider "github": this binary has no providers`},
	}
	for _, test := range tests {
		_, err := test.registry.Provider(test.key)
		if !errors.Is(err, registry.ErrUnknownProvider) {
			t.Fatalf("%q: %v does not wrap ErrUnknownProvider", test.key, err)
		}
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.key, diff)
		}
	}
}

func TestNewRefusesValues(t *testing.T) {
	shared := new(account)
	tests := []struct {
		name     string
		key      string
		provider contracts.Provider
		want     string
	}{
		{"upper case key", "GitHub", named{}, "provider key \"GitHub\" must match ^[a-z0-9][a-z0-9-]{0,62}$"},
		{"key with a dot", "git.hub", named{}, "provider key \"git.hub\" must match ^[a-z0-9][a-z0-9-]{0,62}$"},
		{"key with a newline", "github\n", named{}, "provider key \"github\\n\" must match ^[a-z0-9][a-z0-9-]{0,62}$"},
		{"empty key", "", named{}, "provider key \"\" must match ^[a-z0-9][a-z0-9-]{0,62}$"},
		{"nil", "p", nil, `provider "p": it is nil`},
		{"nil pointer", "p", (*named)(nil), `provider "p": it is nil`},
		{
			"typed nil credentials", "p",
			typed{credentials: typedNil, metadata: none},
			`provider "p": CredentialData: it returns a nil *registry_test.account: return new(registry_test.account), or an untyped nil for a plain map`,
		},
		{
			"credentials by value", "p",
			typed{credentials: value, metadata: none},
			`provider "p": CredentialData: it returns a registry_test.account: it must be a pointer, new(registry_test.account), or an untyped nil for a plain map`,
		},
		{
			"typed nil metadata", "p",
			typed{credentials: none, metadata: typedNil},
			`provider "p": MetadataData: it returns a nil *registry_test.account: return new(registry_test.account), or an untyped nil for a plain map`,
		},
		{"shared metadata", "p", typed{credentials: none, metadata: func() any {
			return shared
		}}, `provider "p": MetadataData: it returns the same pointer twice: two integrations would share it; return new(registry_test.account)`},
		{
			"panicking", "p",
			typed{credentials: panics, metadata: none},
			`provider "p": CredentialData panicked: not now`,
		},
		{
			"no interval", "p",
			synced{},
			`provider "p": DefaultSyncInterval: it returns 0s: it must be whole minutes, at least 1m0s`,
		},
		{
			"half a minute", "p",
			synced{interval: 90 * time.Second},
			`provider "p": DefaultSyncInterval: it returns 1m30s: it must be whole minutes, at least 1m0s`,
		},
		{
			"negative interval", "p",
			synced{interval: -time.Minute},
			`provider "p": DefaultSyncInterval: it returns -1m0s: it must be whole minutes, at least 1m0s`,
		},
		{
			"long interval", "p",
			synced{interval: contracts.MaxSyncInterval + time.Minute},
			`provider "p": DefaultSyncInterval: it returns 8760h1m0s: it must be at most 8760h0m0s`,
		},
		{
			"no requests", "p",
			synced{interval: time.Minute, limit: contracts.PerHour(0)},
			`provider "p": DefaultRateLimit: rate limit of 0 requests: it must be at least 1`,
		},
		{
			"short window", "p",
			limited{limit: contracts.Per(1, 999*time.Millisecond)},
			`provider "p": RateLimit: rate limit window of 999ms: it must be at least 1s`,
		},
		{
			"negative threshold", "p",
			impatient{},
			`provider "p": RefreshThreshold: it returns -1s: it must not be negative`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := registry.New(map[string]contracts.Provider{test.key: test.provider})
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// A method that does not return is a problem like any other.
func TestNewOfAHangingProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func() any { <-time.After(time.Hour); return nil }
		_, err := registry.New(map[string]contracts.Provider{"p": typed{credentials: hang, metadata: none}})
		if want := `provider "p": CredentialData did not return in time: it is left behind`; err == nil ||
			err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		hang() // until the one that is left behind has ended
	})
}

func TestNewReportsAllAtOnce(t *testing.T) {
	_, err := registry.New(map[string]contracts.Provider{
		"B":  synced{interval: time.Second, limit: contracts.Per(0, 0)},
		"a":  nil,
		"ok": named{},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	want := strings.Join([]string{
		`provider key "B" must match ^[a-z0-9][a-z0-9-]{0,62}$`,
		`provider "B": DefaultSyncInterval: it returns 1s: it must be whole minutes, at least 1m0s`,
		`provider "B": DefaultRateLimit: rate limit of 0 requests: it must be at least 1`,
		`provider "a": it is nil`,
	}, "\n")
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// everything has every contract.
type everything struct {
	synced
	contracts.WebhookDefaults
	contracts.OAuth2Defaults
}

func (everything) SyncIncremental(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return nil
}
func (everything) CursorAdvances(_, _ contracts.Cursor) bool { return true }
func (everything) HandleWebhook(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
	return nil, nil
}

func (everything) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error {
	return nil
}

func (everything) WebhookChallenge(context.Context, *contracts.Integration, *contracts.WebhookRequest) ([]byte, bool,
	error,
) {
	return nil, false, nil
}
func (everything) WebhookOrderingKey(*contracts.WebhookRequest) (string, bool) { return "", false }
func (everything) WebhookSecrets(*contracts.Integration) []string              { return nil }
func (everything) WebhookAccount(*contracts.WebhookRequest) (string, bool)     { return "", false }
func (everything) IntegrationAccount(*contracts.Integration) string            { return "" }

func (everything) AuthorizationURL(context.Context, *contracts.Integration, string, string) (string, error) {
	return "", nil
}

func (everything) ExchangeCode(context.Context, *contracts.Integration, string, string) (contracts.Token, error) {
	return contracts.Token{}, nil
}

func (everything) RefreshToken(context.Context, *contracts.Integration) (contracts.Token, error) {
	return contracts.Token{}, nil
}
func (everything) RevokeToken(context.Context, *contracts.Integration) error { return nil }
func (everything) CredentialHosts(*contracts.Integration) ([]string, error)  { return nil, nil }
func (everything) OAuth2Issuer(*contracts.Integration) (string, error)       { return "", nil }
func (everything) RequiresOAuth2Issuer(*contracts.Integration) (bool, error) { return false, nil }
func (everything) GrantsUnattended()                                         {}
func (everything) OAuth2Hosts(*contracts.Integration) ([]string, error)      { return nil, nil }
func (everything) Authenticate(*contracts.Integration, *http.Request) error  { return nil }
func (everything) HealthCheck(context.Context, *contracts.Integration) error { return nil }
func (everything) SensitiveRequestFields() []string                          { return nil }
func (everything) SensitiveResponseFields() []string                         { return nil }
func (everything) SupportsIdempotency()                                      {}
func (everything) IdempotencyHeader() string                                 { return "X-Key" }
func (everything) IsRetryable(error) contracts.Verdict                       { return contracts.VerdictDefault }
func (everything) RetryDelay(error, int, int) (time.Duration, bool)          { return 0, false }
func (everything) ClassifyFailure(error) (contracts.FailureClass, bool)      { return "", false }
func (everything) RateLimit() *contracts.RateLimit                           { return nil }
func (everything) BudgetKey(*contracts.Integration) string                   { return "" }
func (everything) ReportRate(*http.Response) (contracts.RateReport, bool) {
	return contracts.RateReport{}, false
}
func (everything) UnloggedResponseEndpoints() []string { return nil }
func (everything) ResolveIdentity(context.Context, *contracts.Integration) (contracts.Identity, error) {
	return contracts.Identity{}, nil
}

// impatient refreshes after the token has ended.
type impatient struct{ everything }

func (impatient) RefreshThreshold() time.Duration    { return -time.Second }
func (impatient) DefaultSyncInterval() time.Duration { return time.Minute }

// every compiles only while everything has every contract.
type every interface {
	contracts.Provider
	contracts.ScheduledSync
	contracts.IncrementalSync
	contracts.CursorAdvancer
	contracts.CursorDater
	contracts.AssociativeReducer
	contracts.CheckpointOrderer
	contracts.CheckpointChecker
	contracts.WebhookHandler
	contracts.WebhookChallenger
	contracts.WebhookOrderer
	contracts.WebhookSharer
	contracts.OAuth2
	contracts.OAuth2Issuer
	contracts.OAuth2IssuerRequirer
	contracts.OAuth2HostNamer
	contracts.UnattendedGranter
	contracts.Authenticator
	contracts.HostNamer
	contracts.HealthChecker
	contracts.Redactor
	contracts.IdempotencySupporter
	contracts.IdempotencyHeaderNamer
	contracts.RetryCustomizer
	contracts.FailureClassifier
	contracts.IdentityResolver
	contracts.RateLimiter
	contracts.BudgetKeyer
	contracts.RateReporter
	contracts.ResponseLogLimiter
}

func TestNewAcceptsEveryContract(t *testing.T) {
	var p every = everything{synced: synced{interval: time.Minute}}
	if _, err := registry.New(map[string]contracts.Provider{"everything": p}); err != nil {
		t.Error(err)
	}
}
