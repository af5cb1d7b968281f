package events

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Root is the first token of every subject.
const Root = "tributary"

// StreamEvents is the stream that keeps events for your application, and EventsMaxAge for how long.
const (
	StreamEvents = "TRIBUTARY_EVENTS"
	EventsMaxAge = 7 * 24 * time.Hour
)

// The headers of commands and events.
const (
	// HeaderContentType tells protobuf from JSON.
	HeaderContentType = "Content-Type"
	// HeaderSchema is the full name of the message's schema.
	HeaderSchema = "Tributary-Schema"

	ContentProtobuf = "application/x-protobuf"
	ContentJSON     = "application/json"
)

// None stands in a subject for an integration or provider that an event is not about.
const None = "_"

// Verb is what a command asks for.
type Verb string

// The verbs that tributary.commands.<verb>.<integration> takes.
const (
	VerbSync        Verb = "sync"
	VerbCancel      Verb = "cancel"
	VerbPause       Verb = "pause"
	VerbResume      Verb = "resume"
	VerbEnable      Verb = "enable"
	VerbRetry       Verb = "retry"
	VerbSkip        Verb = "skip"
	VerbResetCursor Verb = "reset-cursor"
	VerbReplay      Verb = "replay"
	VerbRecover     Verb = "recover"
)

// Verbs lists every verb, in the order of the documentation.
func Verbs() []Verb {
	return []Verb{VerbSync, VerbCancel, VerbPause, VerbResume, VerbEnable, VerbRetry, VerbSkip, VerbResetCursor, VerbReplay, VerbRecover}
}

// Name is what an event tells.
type Name string

// The events of tributary.events.<name>.<provider>.<integration>.
const (
	RunStarted               Name = "run-started"
	RunWaiting               Name = "run-waiting"
	RunCompleted             Name = "run-completed"
	RunPartial               Name = "run-partial"
	RunFailed                Name = "run-failed"
	ItemFailed               Name = "item-failed"
	ItemStuck                Name = "item-stuck"
	SyncStale                Name = "sync-stale"
	SyncRecovered            Name = "sync-recovered"
	CursorMoved              Name = "cursor-moved"
	IntegrationCreated       Name = "integration-created"
	IntegrationChanged       Name = "integration-changed"
	IntegrationHealthChanged Name = "integration-health-changed"
	IntegrationDisabled      Name = "integration-disabled"
	IntegrationEnabled       Name = "integration-enabled"
	IncidentOpened           Name = "incident-opened"
	CircuitOpened            Name = "circuit-opened"
	CircuitClosed            Name = "circuit-closed"
	CircuitOverridden        Name = "circuit-overridden"
	IncidentClosed           Name = "incident-closed"
	FailureRateElevated      Name = "failure-rate-elevated"
	FailureRateRecovered     Name = "failure-rate-recovered"
	CommandAccepted          Name = "command-accepted"
	CommandRejected          Name = "command-rejected"
	RecordsChanged           Name = "records-changed"
	OAuthConnected           Name = "oauth-connected"
	OAuthConnectFailed       Name = "oauth-connect-failed"
	OAuthRevoked             Name = "oauth-revoked"
	TokenRefreshed           Name = "token-refreshed"
	TokenRefreshFailed       Name = "token-refresh-failed"
	ReauthRequired           Name = "reauth-required"
	WebhookFailed            Name = "webhook-failed"
	WebhooksSilent           Name = "webhooks-silent"
	WebhooksResumed          Name = "webhooks-resumed"
	WebhooksRefused          Name = "webhooks-refused"
	WorkSetAside             Name = "work-set-aside"
	WorkSettled              Name = "work-settled"
)

// ErrSubject is what every parse error of this package wraps.
var ErrSubject = errors.New("malformed subject")

// CommandSubject is where operators publish.
func CommandSubject(verb Verb, integration string) string {
	return join(Root, "commands", string(verb), integration)
}

// EventSubject is where your application listens.
func EventSubject(name Name, provider, integration string) string {
	return join(Root, "events", string(name), orNone(provider), orNone(integration))
}

// ParseCommandSubject takes a command's subject apart. The verb may be unknown; that is for the caller to answer.
func ParseCommandSubject(subject string) (verb Verb, integration string, err error) {
	tokens, err := Tokens(subject, "commands", 4)
	if err != nil {
		return "", "", err
	}
	return Verb(tokens[2]), tokens[3], nil
}

// ParseEventSubject takes an event's subject apart.
func ParseEventSubject(subject string) (name Name, provider, integration string, err error) {
	tokens, err := Tokens(subject, "events", 5)
	if err != nil {
		return "", "", "", err
	}
	return Name(tokens[2]), tokens[3], tokens[4], nil
}

// ValidToken reports whether s can stand as one token of a subject: letters, digits, dash and underscore, at most 100 of them.
func ValidToken(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for _, r := range []byte(s) {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

// Tokens takes a subject apart that has as many tokens, of which the first is [Root] and the second names its class.
func Tokens(subject, class string, tokens int) ([]string, error) {
	parts := strings.Split(subject, ".")
	if len(parts) != tokens || parts[0] != Root || parts[1] != class {
		return nil, fmt.Errorf("%w: %q is not %s.%s with %d tokens", ErrSubject, subject, Root, class, tokens)
	}
	for _, part := range parts {
		if !ValidToken(part) {
			return nil, fmt.Errorf("%w: %q has the token %q", ErrSubject, subject, part)
		}
	}
	return parts, nil
}

func orNone(token string) string {
	if token == "" {
		return None
	}
	return token
}

func join(tokens ...string) string { return strings.Join(tokens, ".") }
