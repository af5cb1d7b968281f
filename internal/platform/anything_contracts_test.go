package platform_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// This file has the contracts that a provider may leave out. [anything] has them all, and says anything in each.

// asked notes a call of a contract's method. One call in eight panics.
func (d *texts) asked(method string) {
	d.note(method)
	if d.below(8) == 0 {
		panic(d.text())
	}
}

// note notes that a contract's method was called, by the runtime or by the provider.
func (d *texts) note(method string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.noted == nil {
		d.noted = map[string]bool{}
	}
	d.noted[method] = true
}

func (d *texts) list() []string {
	list := make([]string, d.below(4))
	for i := range list {
		list[i] = d.text()
	}
	return list
}

// wait draws a time that holds nobody up.
func (d *texts) wait() time.Duration {
	return []time.Duration{0, time.Millisecond, -1, math.MinInt64}[d.below(4)]
}

// told is an event that names its type.
type told struct {
	unread
	*texts
}

func (e told) EventType() string {
	e.asked("EventType")
	return e.eventType
}

func (p anything) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	p.note("SyncIncremental")
	p.note("Cursor")
	_, _ = session.Cursor()
	return p.enumerate(ctx, in, session)
}

func (p anything) CursorAdvances(contracts.Cursor, contracts.Cursor) bool {
	p.asked("CursorAdvances")
	return p.below(2) == 0
}

func (p anything) CursorAt(time.Time) (contracts.Cursor, error) {
	p.asked("CursorAt")
	if p.below(4) == 0 {
		return nil, errors.New(p.text())
	}
	return contracts.Cursor(p.document()), nil
}

func (p anything) CheckCheckpoint(contracts.Checkpoint, time.Time) error {
	p.asked("CheckCheckpoint")
	if p.below(8) == 0 {
		return errors.New(p.text())
	}
	return nil
}

func (p anything) CheckpointKey(contracts.Checkpoint) (string, error) {
	p.asked("CheckpointKey")
	if p.below(8) == 0 {
		return "", errors.New(p.text())
	}
	return p.text(), nil
}

func (p anything) Authenticate(_ *contracts.Integration, req *http.Request) error {
	p.asked("Authenticate")
	req.Header["X-Auth"] = []string{p.text()}
	req.Header[p.text()] = []string{p.text()}
	req.URL.RawQuery, req.URL.Fragment = p.text(), p.text()
	if p.below(8) == 0 {
		return errors.New(p.text())
	}
	return nil
}

func (p anything) CredentialHosts(*contracts.Integration) ([]string, error) {
	if p.below(2) == 0 {
		return []string{"upstream.example"}, nil
	}
	p.asked("CredentialHosts")
	if p.below(4) == 0 {
		return nil, errors.New(p.text())
	}
	return append(p.list(), "upstream.example"), nil
}

func (p anything) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	p.asked("HealthCheck")
	p.use(ctx, in)
	if p.below(2) == 0 {
		return p.fail()
	}
	return nil
}

func (p anything) ResolveIdentity(context.Context, *contracts.Integration) (contracts.Identity, error) {
	p.asked("ResolveIdentity")
	if p.below(3) == 0 {
		return contracts.Identity{}, p.fail()
	}
	return contracts.Identity{ID: p.text(), Username: p.text(), Name: p.text(), Email: p.text(), Raw: p.document()}, nil
}

func (p anything) RateLimit() *contracts.RateLimit {
	p.note("RateLimit")
	return nil
}

func (p anything) BudgetKey(*contracts.Integration) string {
	p.asked("BudgetKey")
	return p.text()
}

func (p anything) ReportRate(*http.Response) (contracts.RateReport, bool) {
	p.asked("ReportRate")
	remaining := []int{0, -1, math.MaxInt, math.MinInt}[p.below(4)]
	return contracts.RateReport{Wait: p.wait(), Reset: p.wait(), Remaining: remaining}, p.below(2) == 0
}

// ClassifyFailure blames nothing on the upstream: a circuit that is open would hold everything up.
func (p anything) ClassifyFailure(error) (contracts.FailureClass, bool) {
	p.asked("ClassifyFailure")
	return contracts.FailureClass(p.text()), p.below(2) == 0
}

func (p anything) IsRetryable(error) contracts.Verdict {
	p.asked("IsRetryable")
	return contracts.Verdict(p.below(5) - 1)
}

func (p anything) RetryDelay(error, int, int) (time.Duration, bool) {
	p.asked("RetryDelay")
	return p.wait(), true
}

func (p anything) SensitiveRequestFields() []string {
	p.asked("SensitiveRequestFields")
	return p.list()
}

func (p anything) SensitiveResponseFields() []string {
	p.asked("SensitiveResponseFields")
	return p.list()
}

func (p anything) UnloggedResponseEndpoints() []string {
	p.asked("UnloggedResponseEndpoints")
	return p.list()
}

func (p anything) WebhookChallenge(context.Context, *contracts.Integration, *contracts.WebhookRequest) ([]byte, bool, error) {
	p.asked("WebhookChallenge")
	if p.below(8) == 0 {
		return []byte(p.text()), true, errors.New(p.text())
	}
	return []byte(p.text()), p.below(8) == 0, nil
}

// WebhookHandlers are always the same: a type that is no longer in them would wait for a build that has it.
func (p anything) WebhookHandlers() map[string]contracts.WebhookFunc {
	p.note("WebhookHandlers")
	handlers := map[string]contracts.WebhookFunc{}
	for _, event := range p.handled {
		handlers[event] = p.HandleWebhook
	}
	return handlers
}

func (p anything) WebhookOrderingKey(*contracts.WebhookRequest) (string, bool) {
	p.asked("WebhookOrderingKey")
	return p.text(), p.below(2) == 0
}

func (p anything) WebhookSecrets(in *contracts.Integration) []string {
	p.asked("WebhookSecrets")
	return append(p.list(), in.Name())
}

func (p anything) WebhookAccount(*contracts.WebhookRequest) (string, bool) {
	p.asked("WebhookAccount")
	if p.below(2) == 0 {
		return "anything", true
	}
	return p.text(), p.below(4) > 0
}

// IntegrationAccount has no webhooks go to integrations that are paused: they would wait.
func (p anything) IntegrationAccount(in *contracts.Integration) string {
	p.asked("IntegrationAccount")
	if in.Name() == "anything" {
		return in.Name()
	}
	return "another" + p.text()
}

// folding has the marks, each of which has the runtime do something else.
type folding struct{ anything }

func (folding) ReducesAssociatively() {}
func (folding) SupportsIdempotency()  {}

func (p folding) IdempotencyHeader() string {
	p.asked("IdempotencyHeader")
	return p.text()
}

// unattended gets its tokens by itself.
type unattended struct{ granting }

func (unattended) GrantsUnattended() {}

// declared are methods by which a provider declares Go types, and numbers that are checked at the start.
func declared() []string {
	return []string{"CredentialRules", "MetadataRules", "CredentialData", "MetadataData", "DefaultSyncInterval", "RefreshThreshold"}
}

// uncalled are the methods of all interfaces of pkg/contracts that were not called so far. A mark, which has neither
// parameters nor results, is never called: one of the providers must have it.
func (p anything) uncalled(t *testing.T) (methods []string) {
	t.Helper()
	providers := p.providers()
	p.mu.Lock()
	defer p.mu.Unlock()
	for method, isMark := range contractMethods(t) {
		has := p.noted[method] || slices.Contains(declared(), method)
		for _, provider := range providers {
			_, marked := reflect.TypeOf(provider).MethodByName(method)
			has = has || isMark && marked
		}
		if !has {
			methods = append(methods, method)
		}
	}
	slices.Sort(methods)
	return methods
}

// contractMethods are the methods of all interfaces of pkg/contracts, and whether each is a mark.
func contractMethods(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../../pkg/contracts/*.go")
	if err != nil {
		t.Fatal(err)
	}
	methods := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			contract, ok := n.(*ast.InterfaceType)
			if !ok {
				return true
			}
			for _, field := range contract.Methods.List {
				if f, ok := field.Type.(*ast.FuncType); ok {
					methods[field.Names[0].Name] = f.Params.NumFields()+f.Results.NumFields() == 0
				}
			}
			return true
		})
	}
	if len(methods) < 50 {
		t.Fatalf("only %d methods of contracts were found", len(methods))
	}
	return methods
}
