// Package api is what schedulers and token-refreshers answer over NATS micro (the service "tributary", subjects
// tributary.api.<noun>.<verb>[.<provider>]): the requests, the replies and the errors, all in JSON, a client for them, and the server that both services answer
// with. The CLI and the API's other callers are its clients.
//
// A reply with the header Nats-Service-Error-Code is an [Error]: the header holds its code, Nats-Service-Error its message on one line, and the
// body the whole as JSON. No reply ever holds a credential.
package api

import (
	"strings"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// Version is the version of the micro service: it changes with the API.
const Version = "1.0.0"

// Endpoint is one thing that can be asked: "<noun>.<verb>".
type Endpoint string

// The endpoints, beside one for each command: see [CommandEndpoint].
const (
	// IntegrationsList takes a [ListIntegrations] and returns an [IntegrationPage].
	IntegrationsList Endpoint = "integrations.list"
	// IntegrationsShow takes a [ByIntegration] and returns an [Integration].
	IntegrationsShow Endpoint = "integrations.show"
	// IntegrationsCreate takes a [CreateIntegration] and returns an [Integration]. It is asked per provider.
	IntegrationsCreate Endpoint = "integrations.create"
	// IntegrationsUpdate takes an [UpdateIntegration] and returns an [Integration]. It is asked per provider.
	IntegrationsUpdate Endpoint = "integrations.update"
	// IntegrationsDelete takes a [DeleteIntegration] and returns nothing.
	IntegrationsDelete Endpoint = "integrations.delete"
	// ProvidersList takes nothing and returns a [ProviderList]. Every scheduler answers, with the providers compiled into it.
	ProvidersList Endpoint = "providers.list"
	// RunsList takes a [ListRuns] and returns a [RunPage].
	RunsList Endpoint = "runs.list"
	// RunsShow takes a [ByID] and returns a [Run].
	RunsShow Endpoint = "runs.show"
	// ItemsDead takes a [ListDeadItems] and returns a [DeadItemPage].
	ItemsDead Endpoint = "items.dead"
	// ItemsShow takes a [ByID] and returns a [DeadItem] with its payload.
	ItemsShow Endpoint = "items.show"
	// WebhooksList takes a [ListWebhooks] and returns a [WebhookPage].
	WebhooksList Endpoint = "webhooks.list"
	// WebhooksShow takes a [ByID] and returns a [Webhook] with its request.
	WebhooksShow Endpoint = "webhooks.show"
	// RequestsList takes a [ListRequests] and returns a [RequestPage].
	RequestsList Endpoint = "requests.list"
	// RequestsShow takes a [ByID] and returns a [Request] with its details.
	RequestsShow Endpoint = "requests.show"
	// RequestsKeys takes a [ListKeys] and returns a [KeyPage].
	RequestsKeys Endpoint = "requests.keys"
	// RequestsResolve takes a [ResolveKey] and returns nothing.
	RequestsResolve Endpoint = "requests.resolve"
	// OutboxList takes a [ListSetAside] and returns a [SetAsidePage].
	OutboxList Endpoint = "outbox.list"
	// OutboxRetry takes a [RetrySetAside] and returns a [Retried].
	OutboxRetry Endpoint = "outbox.retry"
	// OutboxDrop takes a [DropSetAside] and returns a [SetAside].
	OutboxDrop Endpoint = "outbox.drop"
	// HandlersList takes a [ListHandlers] and returns a [HandlerPage].
	HandlersList Endpoint = "handlers.list"
	// HandlersForget takes a [ForgetHandler] and returns a [Handler].
	HandlersForget Endpoint = "handlers.forget"
	// ProcessesList takes nothing and returns a [Process]. Every process answers, whatever services it runs.
	ProcessesList Endpoint = "processes.list"
	// PruneRun takes a [Prune] and returns a [Pruned].
	PruneRun Endpoint = "prune.run"
	// RateLimitSet takes a [SetRateLimit] and returns a [RateLimitStatus]. It is asked per provider, as are the other two.
	RateLimitSet Endpoint = "rate-limit.set"
	// RateLimitClear takes a [ClearRateLimit] and returns a [RateLimitStatus].
	RateLimitClear Endpoint = "rate-limit.clear"
	// RateLimitStatusShow takes a [ByIntegration] and returns a [RateLimitStatus].
	RateLimitStatusShow Endpoint = "rate-limit.status"
	// CircuitOverride takes an [OverrideCircuit] and returns a [CircuitStatus].
	CircuitOverride Endpoint = "circuit.override"
	// CircuitShow takes a [ByIntegration] and returns a [CircuitStatus].
	CircuitShow Endpoint = "circuit.status"
	// CursorShow takes a [ByIntegration] and returns a [Cursor].
	CursorShow Endpoint = "cursor.show"
	// RecordsCount takes a [ByIntegration] and returns a [RecordCount].
	RecordsCount Endpoint = "records.count"
)

// CommandEndpoint takes the body of a command (empty, JSON, or protobuf by its Content-Type) with the integration in it, and returns a
// CommandReply in the form that the request had.
func CommandEndpoint(verb events.Verb) Endpoint { return Endpoint("command." + string(verb)) }

// Subject is where the endpoint is asked. provider is empty for all that any scheduler answers.
func (e Endpoint) Subject(provider string) string {
	noun, verb, _ := strings.Cut(string(e), ".")
	return wire.APISubject(noun, verb, provider)
}

// isRefreshers reports whether token-refreshers answer, not schedulers.
func (e Endpoint) isRefreshers() bool {
	return strings.HasPrefix(string(e), "token.") || strings.HasPrefix(string(e), "secrets.")
}

// MaxPage is how many rows a page holds at most; DefaultPage is how many it holds when the request doesn't say.
const (
	MaxPage     = 500
	DefaultPage = 100
)

// MaxObjectBytes is how large the metadata or the credentials of an integration may be.
const MaxObjectBytes = 64 << 10

// MaxRequestBytes is how large a request may be.
const MaxRequestBytes = 256 << 10

// ByIntegration names an integration.
type ByIntegration struct {
	// Integration is its id or its name.
	Integration string `json:"integration"`
}

// ByID names a run or a dead item.
type ByID struct {
	ID string `json:"id"`
}
