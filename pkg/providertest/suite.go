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
	// Change changes one record upstream and returns its external id. Without it, that a change comes through is not tested.
	Change func(t testing.TB) string
	// Webhook is a delivery as the upstream signs it. Without it, that webhooks are verified is not tested.
	Webhook func(t testing.TB) *contracts.WebhookRequest
}

// Run tests that a provider keeps its contracts: registration, rules and types; that a sync is repeatable, stops when it is told to, ends in an error
// when the upstream fails and in a deferral when it asks for patience; that the reducer agrees with itself; and that no credential shows in errors or logs or
// is sent to a foreign host. What belongs to a contract that the provider does not implement is left out.
func Run(t *testing.T, s Suite) {
	t.Helper()
	k := &kit{Suite: s}
	t.Run("registers", k.registers)
	t.Run("data", k.data)
	t.Run("rules", k.rules)
	if _, ok := s.Provider.(contracts.Authenticator); ok {
		t.Run("keeps credentials from foreign hosts", k.foreignHost)
	}
	if health, ok := s.Provider.(contracts.HealthChecker); ok {
		t.Run("health", func(t *testing.T) { k.health(t, health) })
	}
	if syncs, ok := s.Provider.(contracts.ScheduledSync); ok {
		t.Run("sync", func(t *testing.T) { k.sync(t, syncs) })
		t.Run("failures", func(t *testing.T) { k.failures(t, syncs) })
		t.Run("cancellation", func(t *testing.T) { k.cancellation(t, syncs) })
	}
	if syncs, ok := s.Provider.(contracts.IncrementalSync); ok {
		t.Run("incremental", func(t *testing.T) { k.incremental(t, syncs) })
	}
	if handler, ok := s.Provider.(contracts.WebhookHandler); ok && s.Webhook != nil {
		t.Run("webhooks", func(t *testing.T) { k.webhooks(t, handler) })
	}
	t.Run("logs hold no secret", func(t *testing.T) { k.noSecret(t, "the log", k.log.String()) })
}

// kit is a suite at work.
type kit struct {
	Suite
	log logBuffer
}

// integration is the fixture's, over a transport of the test's own or, with nil, the fixture's.
func (k *kit) integration(t *testing.T, transport http.RoundTripper) *contracts.Integration {
	t.Helper()
	client := k.Client
	if transport != nil {
		client = &http.Client{Transport: transport}
	}
	return integration(t, k.Provider, k.Credentials, k.Metadata, client, slog.New(slog.NewTextHandler(&k.log, nil)))
}

func (k *kit) registers(t *testing.T) {
	if _, err := contracts.NewRegistry(map[string]contracts.Provider{k.Key: k.Provider}); err != nil {
		t.Fatal(err)
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
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s change on the way through %T: fields are lost or renamed", what, target)
		}
	}
}

// rules checks the rule "required", on which the others build.
func (k *kit) rules(t *testing.T) {
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

func lookUp(values map[string]any, path string) (any, bool) {
	name, rest, isNested := strings.Cut(path, ".")
	value, ok := values[name]
	if !isNested || !ok {
		return value, ok
	}
	inner, _ := value.(map[string]any)
	return lookUp(inner, rest)
}

// foreignHost checks that Authenticate leaves a request to somebody else as it is.
func (k *kit) foreignHost(t *testing.T) {
	in := k.integration(t, nil)
	auth, _ := k.Provider.(contracts.Authenticator) // Run asked
	for _, address := range []string{"https://foreign.example/x", "http://foreign.example:8443/x?a=b"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.Authenticate(in, req); err != nil {
			t.Errorf("Authenticate of a request to %s: %v; it should leave it as it is", address, err)
		}
		var sent bytes.Buffer
		if err := req.Write(&sent); err != nil {
			t.Fatal(err)
		}
		k.noSecret(t, "a request to "+address, sent.String())
	}
}

func (k *kit) health(t *testing.T, provider contracts.HealthChecker) {
	if err := provider.HealthCheck(t.Context(), k.integration(t, nil)); err != nil {
		t.Errorf("HealthCheck of a healthy upstream: %v", err)
	}
	err := provider.HealthCheck(t.Context(), k.integration(t, answering(http.StatusUnauthorized, nil)))
	if err == nil {
		t.Error("HealthCheck is healthy although the upstream answers 401")
	}
	k.checkError(t, err)
}

// noSecret fails when a text holds one of the fixture's credentials.
func (k *kit) noSecret(t *testing.T, where, text string) {
	t.Helper()
	var credentials any
	if raw := encode(t, k.Credentials); raw != nil {
		if err := json.Unmarshal(raw, &credentials); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range secretsIn(credentials) {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds a credential", where)
		}
	}
}

func (k *kit) checkError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		k.noSecret(t, "an error", err.Error())
	}
}

// secretsIn are the strings of credentials that are long enough to be secrets.
func secretsIn(value any) []string {
	const least = 8
	switch v := value.(type) {
	case string:
		if len(v) >= least {
			return []string{v}
		}
	case map[string]any:
		var all []string
		for _, inner := range v {
			all = append(all, secretsIn(inner)...)
		}
		return all
	case []any:
		var all []string
		for _, inner := range v {
			all = append(all, secretsIn(inner)...)
		}
		return all
	}
	return nil
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
