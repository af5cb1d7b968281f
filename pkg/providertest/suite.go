package providertest

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Suite is a provider and what to test it with: credentials and metadata of an upstream that answers, a test server or a real one.
type Suite struct {
	Provider contracts.Provider
	// Key is what the provider is registered under.
	Key string
	// Credentials and Metadata are valid ones, as values that encode to JSON objects; nil where the provider needs none.
	Credentials, Metadata any
	// Client reaches the upstream; nil is [http.DefaultClient].
	Client *http.Client
	// Records are the external ids of all records that a full sync must find. Without it, records that no sync finds are not noticed.
	Records func(t testing.TB) []string
	// Change changes one record upstream and returns its external id. Without it, that a change comes through is not tested.
	Change func(t testing.TB) string
	// Edit changes the record of an item upstream. The suite calls it while a sync reads. Without it, that no edit is lost meanwhile is not tested.
	Edit func(t testing.TB, item Item)
	// Webhook is a delivery as the upstream signs it. Without it, that webhooks are verified is not tested.
	Webhook func(t testing.TB) *contracts.WebhookRequest
	// TokenAnswer is what the upstream's token endpoint answers with these tokens; refresh is empty where it gives no new one. Without it, the answer is that
	// of RFC 6749.
	TokenAnswer func(access, refresh string, life time.Duration) string
	// Delivery is the signed delivery about the record of an item as it is now. Without it, that webhooks bring what the sync brings is not tested.
	Delivery func(t testing.TB, item Item) *contracts.WebhookRequest
}

// Run tests that a provider keeps its contracts: registration, rules and types; that a sync finds everything, is repeatable, stops when it is told to, ends in
// an error when the upstream fails at any page, and in a deferral when it asks for patience; that no edit is lost which happens while it reads; that the reducer
// agrees with itself; that webhooks bring the records of the sync; that OAuth tokens are got and refreshed without a loss; that the provider keeps no state, nor
// shares it between integrations, and leaves no goroutines; and that no credential shows in errors, events or logs or
// is sent to a foreign host. What belongs to a contract that the provider does not implement, or needs a function that the suite does not have, is left out.
//
// Requests leave through the platform's own client, so that authentication and deferrals are those of production. Run the test with -race too: state that a
// provider keeps shows there first.
func Run(t *testing.T, s Suite) {
	t.Helper()
	k := &kit{Suite: s, clock: newClock(t)}
	step := func(name string, test func(t *testing.T)) {
		if !k.clock.stuck {
			t.Run(name, test)
		}
	}
	step("registers", k.registers)
	step("data", k.data)
	step("rules", k.rules)
	step("keeps credentials from foreign hosts", k.foreignHost)
	if health, ok := s.Provider.(contracts.HealthChecker); ok {
		step("health", func(t *testing.T) { k.health(t, health) })
	}
	if resolver, ok := s.Provider.(contracts.IdentityResolver); ok {
		step("identity", func(t *testing.T) { k.identity(t, resolver) })
	}
	if oauth, ok := s.Provider.(contracts.OAuth2); ok {
		step("oauth", func(t *testing.T) { k.oauth(t, oauth) })
		step("tokens", func(t *testing.T) { k.tokens(t, oauth) })
	}
	syncs, isSync := s.Provider.(contracts.ScheduledSync)
	if isSync {
		step("sync", func(t *testing.T) { k.sync(t, syncs) })
		step("failures", func(t *testing.T) { k.failures(t, syncs) })
		step("null fields", func(t *testing.T) { k.nulls(t, syncs) })
		step("cancellation", func(t *testing.T) { k.cancellation(t, syncs) })
		step("side by side", func(t *testing.T) { k.side(t, syncs) })
		step("credential hosts", func(t *testing.T) { k.covered(t, syncs) })
		step("other credentials", func(t *testing.T) { k.others(t, syncs) })
		step("other metadata", func(t *testing.T) { k.elsewhere(t, syncs) })
	}
	if syncs, ok := s.Provider.(contracts.IncrementalSync); ok {
		step("incremental", func(t *testing.T) { k.incremental(t, syncs) })
		step("stored cursors", func(t *testing.T) { k.strangers(t, syncs) })
		if k.Edit != nil {
			step("edits", func(t *testing.T) { k.edits(t, syncs) })
		}
		step("cursors in between", func(t *testing.T) { k.between(t, syncs) })
	}
	if handler, ok := s.Provider.(contracts.WebhookHandler); ok {
		if s.Webhook != nil {
			step("webhooks", func(t *testing.T) { hook{k, handler}.webhooks(t, s.Webhook) })
		}
		if s.Delivery != nil && isSync {
			step("deliveries", func(t *testing.T) { hook{k, handler}.deliveries(t, syncs) })
		}
	}
	step("nothing comes late", k.late)
	step("no goroutines are left", k.abandoned)
	step("logs hold no secret", func(t *testing.T) { k.noSecret(t, "the log", k.log.String()) })
}

// kit is a suite at work.
type kit struct {
	Suite
	clock    clock
	log      logBuffer
	sessions []*Session
}

// integration is the fixture's, over a transport of the test's own or, with nil, the fixture's.
func (k *kit) integration(t *testing.T, transport http.RoundTripper) *contracts.Integration {
	t.Helper()
	client := k.Client
	if transport != nil {
		client = &http.Client{Transport: transport}
	}
	raw := slog.New(slog.NewTextHandler(&k.log, nil))
	return integration(t, k.Provider, k.Credentials, k.Metadata, client, func(*redact.Redactor) *slog.Logger { return raw })
}

func (k *kit) registers(t *testing.T) {
	if _, err := registry.New(map[string]contracts.Provider{k.Key: k.Provider}); err != nil {
		t.Fatal(err)
	}
	if err := validate.Rules(k.Provider); err != nil {
		t.Errorf("no process would start with these rules: %v", err)
	}
	if strings.TrimSpace(k.Provider.Name()) == "" {
		t.Error("Name is empty")
	}
}

// data checks that the typed fixture survives the way to the store and back.
func (k *kit) data(t *testing.T) {
	for what, pair := range map[string][2]any{
		"credentials": {k.Provider.CredentialData(), k.Credentials},
		"metadata":    {k.Provider.MetadataData(), k.Metadata},
	} {
		target, fixture := pair[0], pair[1]
		if target == nil || fixture == nil {
			continue
		}
		stored := encode(t, fixture)
		decoder := json.NewDecoder(bytes.NewReader(stored))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(target); err != nil {
			t.Errorf("%s of the fixture do not fit %T: %v", what, target, err)
			continue
		}
		var before, after any
		if err := json.Unmarshal(stored, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(encode(t, target), &after); err != nil {
			t.Fatal(err)
		}
		if d := valuesDiffer(what, before, after); d != "" {
			field, _, _ := strings.Cut(d, ":") // and not what it holds
			t.Errorf("%s change on the way through %T, the first at %s: fields are lost or renamed", what, target, field)
		}
	}
}

// rules checks the rule "required", on which the others build.
func (k *kit) rules(t *testing.T) {
	k.openSecrets(t)
	for what, pair := range map[string]struct {
		rules   contracts.Rules
		fixture any
	}{
		"credentials": {k.Provider.CredentialRules(), k.Credentials},
		"metadata":    {k.Provider.MetadataRules(), k.Metadata},
	} {
		var values map[string]any
		if raw := encode(t, pair.fixture); raw != nil {
			if err := json.Unmarshal(raw, &values); err != nil {
				t.Fatalf("%s of the fixture are not a JSON object: %v", what, err)
			}
		}
		for field, rule := range pair.rules {
			if !slices.Contains(strings.Split(rule, ","), "required") {
				continue
			}
			if value, ok := lookUp(values, field); !ok || value == "" || value == nil {
				t.Errorf("%s of the fixture have no %s, which the rules require", what, field)
			}
		}
		if len(values) > 0 && len(pair.rules) == 0 {
			t.Errorf("the fixture has %s, but the provider has no rules for them: anything would be accepted", what)
		}
	}
}

// openSecrets checks that nothing in the metadata, which is kept and shown in clear, is named like a secret.
func (k *kit) openSecrets(t *testing.T) {
	raw := encode(t, k.Metadata)
	var before, after map[string]any
	if raw == nil || json.Unmarshal(raw, &before) != nil {
		return
	}
	shown := redact.New(k.Provider, nil).RequestBody("application/json", raw, false)
	if err := json.Unmarshal(shown, &after); err != nil {
		t.Fatal(err)
	}
	for field, value := range before {
		if !reflect.DeepEqual(value, after[field]) {
			t.Errorf("the metadata have the field %s, which is kept and shown in clear: a secret belongs to the credentials", field)
		}
	}
	k.noSecret(t, "the metadata", string(raw))
}

func lookUp(values map[string]any, path string) (any, bool) {
	name, rest, isNested := strings.Cut(path, ".")
	value, ok := values[name]
	if !isNested || !ok {
		return value, ok
	}
	inner, _ := value.(map[string]any)
	return lookUp(inner, rest)
}

// logBuffer keeps a log that several goroutines may write.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
