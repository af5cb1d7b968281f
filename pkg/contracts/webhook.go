package contracts

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// WebhookRequest is a delivery as it arrived. The ingress verifies it, a worker handles it later, and a replay sees the
// same.
type WebhookRequest struct {
	// Method is GET or POST.
	Method string
	// Path is the path of the URL it was sent to, still escaped.
	Path string
	// Query is the raw query, without the question mark; [net/url.ParseQuery] reads it.
	Query string
	// Header has canonical names, as in [http.Request]; Get works.
	Header http.Header
	// Body is what the sender signed, byte for byte.
	Body []byte
	// ReceivedAt is when the ingress had read it. Compare signed timestamps with this and not with the clock, so that a
	// replay is judged like the original.
	ReceivedAt time.Time
}

// WebhookFunc handles one kind of delivery; see [WebhookHandler.WebhookHandlers]. It means what HandleWebhook means.
type WebhookFunc func(ctx context.Context, in *Integration, req *WebhookRequest) (any, error)

// WebhookHandler is implemented by providers whose upstream pushes. Embed [WebhookDefaults] to write only HandleWebhook
// and VerifyWebhookSignature.
//
// A delivery is verified while the sender waits, stored, answered with 2xx, and handled later by a worker, more than
// once if need be: handling must be idempotent.
type WebhookHandler interface {
	// HandleWebhook does the work of a delivery. The value it returns is kept as JSON in the business log. Its errors
	// are those of every handler: see [Permanent], [RetryAfter] and [Skip].
	HandleWebhook(ctx context.Context, in *Integration, req *WebhookRequest) (any, error)
	// VerifyWebhookSignature returns nil when the delivery comes from the upstream. Any error, and a panic, is answered
	// with 403 and nothing is stored. It makes no requests, compares in constant time
	// ([crypto/hmac.Equal]), and returns within 2 seconds, else the sender is told to come back.
	VerifyWebhookSignature(ctx context.Context, in *Integration, req *WebhookRequest) error
	// ResolveWebhookEvent is the type of the delivery, such as "issues.opened", and false when it has none.
	ResolveWebhookEvent(req *WebhookRequest) (string, bool)
	// WebhookHandlers maps event types to what handles them. When it is nil or empty, every delivery goes to
	// HandleWebhook. Otherwise a type that is not in the map is recorded as ignored, and a delivery without a type goes
	// to HandleWebhook. A type that another build of the provider has or had in the map waits for a worker of that
	// build. The map is also read when a worker starts.
	WebhookHandlers() map[string]WebhookFunc
	// WebhookDeliveryID is the upstream's id of the delivery, by which a second copy is recognised. When it is false,
	// the hash of the body stands in for it.
	WebhookDeliveryID(req *WebhookRequest) (string, bool)
}

// WebhookDefaults is embedded by a [WebhookHandler] whose deliveries have neither types nor ids. There is no default
// for VerifyWebhookSignature: nothing is accepted unverified by omission.
type WebhookDefaults struct{}

// ResolveWebhookEvent finds no type.
func (WebhookDefaults) ResolveWebhookEvent(*WebhookRequest) (string, bool) { return "", false }

// WebhookHandlers is nil: every delivery goes to HandleWebhook.
func (WebhookDefaults) WebhookHandlers() map[string]WebhookFunc { return nil }

// WebhookDeliveryID finds no id: the hash of the body stands in for it.
func (WebhookDefaults) WebhookDeliveryID(*WebhookRequest) (string, bool) { return "", false }

// WebhookChallenger is implemented by a [WebhookHandler] whose upstream makes sure of an endpoint before it uses it, by
// a question that is answered at once. Package webhooks has the answers for Meta and Slack.
type WebhookChallenger interface {
	// WebhookChallenge is asked before the signature is verified. When the request is a challenge, ok is true, and the
	// answer is sent as plain text; an error is answered with 403. When ok is false, the request is a delivery like any
	// other. It makes no requests.
	WebhookChallenge(ctx context.Context, in *Integration, req *WebhookRequest) (answer []byte, ok bool, err error)
}

// WebhookSharer is implemented by a [WebhookHandler] whose secrets may be shared by many integrations, such as the
// secret of an app that many customers have installed. At the address of the provider, one check then decides about all
// integrations with the same secrets, and a delivery goes only to those that it is about. Without it, the address of
// the provider serves integrations of one owner.
type WebhookSharer interface {
	// WebhookSecrets returns all that VerifyWebhookSignature and WebhookChallenge take from the integration.
	WebhookSecrets(in *Integration) []string
	// WebhookAccount names what a verified delivery is about, such as an installation or a repository. When ok is
	// false, or no integration has this account, the delivery is answered with 200 and dropped.
	WebhookAccount(req *WebhookRequest) (account string, ok bool)
	// IntegrationAccount names the account of an integration in the same way, and is empty when that can't be told.
	IntegrationAccount(in *Integration) string
}

// WebhookOrderer is implemented by a [WebhookHandler] for which the order of deliveries matters.
type WebhookOrderer interface {
	// WebhookOrderingKey names what a delivery is about, such as "issue/7". Of the deliveries to one integration with
	// the same key, one is handled only when those that were received before it are done, ignored, skipped or dead.
	// Without a key, and for false, deliveries are handled side by side.
	WebhookOrderingKey(req *WebhookRequest) (string, bool)
}

// Dispatcher takes records over, to go to the handlers of their type or into the table of records. [SyncSession] is
// one, and so is what a webhook's handler finds by [Dispatch].
type Dispatcher interface {
	Dispatch(ctx context.Context, event any, checkpoint any, externalID string) error
}

type dispatcherKey struct{}

// WithDispatcher returns a context in which [Dispatch] hands records to d; the runtime calls it before it handles a
// webhook, and tests of handlers do.
func WithDispatcher(ctx context.Context, d Dispatcher) context.Context {
	return context.WithValue(ctx, dispatcherKey{}, d)
}

// Dispatch hands a record over from within a webhook's handler, with the meanings of [SyncSession]: the event's type
// picks the application's handlers, and without any it is stored as a record, which an older checkpoint never
// overwrites. Records are worked on after the handler has returned nil, within the same delivery: it is done when they
// are, and what they fail with is the delivery's error. The cursor of the integration is not touched.
func Dispatch(ctx context.Context, event any, checkpoint any, externalID string) error {
	d, ok := ctx.Value(dispatcherKey{}).(Dispatcher)
	if !ok {
		return errNoDispatcher
	}
	return d.Dispatch(ctx, event, checkpoint, externalID)
}

var errNoDispatcher = errors.New("dispatch: the context is not that of a webhook's handler")
