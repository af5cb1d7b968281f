package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Root is the first token of every subject.
const Root = "tributary"

// None stands in a subject for an integration or provider that an event is not about.
const None = "_"

// Lane is one of the two ways that items take. See "Fair share" in docs/architecture.md.
type Lane string

const (
	// Shared carries the first batch of every run and everything that is published again.
	Shared Lane = "shared"
	// Bulk carries all other batches.
	Bulk Lane = "bulk"
)

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

// ItemAddress is everything that an item subject says. Batch, Index, Hop and Members are on retry subjects only.
type ItemAddress struct {
	Lane                       Lane
	Provider, Integration, Run string
	Attempt, Batch, Index, Hop int32
	// Members is a hash of the indexes of all items that wait together; Index is the first of them.
	Members uint64
}

// SyncDueSubject is where the scheduler tells syncers that a run is due.
func SyncDueSubject(provider, integration string) string {
	return join(Root, "sync", "due", provider, integration)
}

// SyncDueFilter is every due run of a provider.
func SyncDueFilter(provider string) string { return join(Root, "sync", "due", provider, "*") }

// ItemsSubject is where a batch travels.
func ItemsSubject(a ItemAddress) string {
	return join(Root, "items", string(a.Lane), a.Provider, a.Integration, a.Run, itoa(a.Attempt))
}

// ItemsFilter is every batch of a provider in a lane.
func ItemsFilter(lane Lane, provider string) string {
	return join(Root, "items", string(lane), provider, ">")
}

// RetrySubject is where items wait for their next hop. It tells them apart from all others that wait, for the broker keeps one schedule a
// subject: after a crash a batch may fall into other groups, of which some have the same first item.
func RetrySubject(a ItemAddress) string {
	return join(Root, "retry", a.Provider, a.Integration, a.Run, itoa(a.Attempt), itoa(a.Batch), itoa(a.Index), itoa(a.Hop),
		strconv.FormatUint(a.Members, 16))
}

// RetryFilter are the subjects under which items of an integration wait for their next hop.
func RetryFilter(provider, integration string) string {
	return join(Root, "retry", provider, integration, ">")
}

// RunFilters are the subjects of all that a run has on the ITEMS stream: every attempt's, or one's.
func RunFilters(provider, integration, run string, attempt int32) []string {
	last := ">"
	retryLast := ">"
	if attempt > 0 {
		last = itoa(attempt)
		retryLast = itoa(attempt) + ".>"
	}
	return []string{
		join(Root, "items", "*", provider, integration, run, last),
		join(Root, "retry", provider, integration, run, retryLast),
	}
}

// WebhooksSubject is where a verified delivery travels.
func WebhooksSubject(provider, integration string) string {
	return join(Root, "webhooks", provider, integration)
}

// WebhooksFilter is every delivery to a provider's integrations.
func WebhooksFilter(provider string) string { return join(Root, "webhooks", provider, "*") }

// CommandSubject is where operators publish.
func CommandSubject(verb Verb, integration string) string {
	return join(Root, "commands", string(verb), integration)
}

// APISubject is a request-reply endpoint; provider is empty where any instance may answer.
func APISubject(noun, verb, provider string) string {
	if provider == "" {
		return join(Root, "api", noun, verb)
	}
	return join(Root, "api", noun, verb, provider)
}

// EventSubject is where your application listens.
func EventSubject(name Name, provider, integration string) string {
	return join(Root, "events", string(name), orNone(provider), orNone(integration))
}

// ParseCommandSubject takes a command's subject apart. The verb may be unknown; that is for the caller to answer.
func ParseCommandSubject(subject string) (verb Verb, integration string, err error) {
	tokens, err := split(subject, "commands", 4)
	if err != nil {
		return "", "", err
	}
	return Verb(tokens[2]), tokens[3], nil
}

// ParseSyncDueSubject takes a due event's subject apart.
func ParseSyncDueSubject(subject string) (provider, integration string, err error) {
	tokens, err := split(subject, "sync", 5)
	if err != nil {
		return "", "", err
	}
	if tokens[2] != "due" {
		return "", "", fmt.Errorf("%w: %q is not %s.sync.due.<provider>.<integration>", ErrSubject, subject, Root)
	}
	return tokens[3], tokens[4], nil
}

// ParseEventSubject takes an event's subject apart.
func ParseEventSubject(subject string) (name Name, provider, integration string, err error) {
	tokens, err := split(subject, "events", 5)
	if err != nil {
		return "", "", "", err
	}
	return Name(tokens[2]), tokens[3], tokens[4], nil
}

// ParseItemsSubject takes a batch's subject apart.
func ParseItemsSubject(subject string) (ItemAddress, error) {
	tokens, err := split(subject, "items", 7)
	if err != nil {
		return ItemAddress{}, err
	}
	a := ItemAddress{Lane: Lane(tokens[2]), Provider: tokens[3], Integration: tokens[4], Run: tokens[5]}
	if a.Lane != Shared && a.Lane != Bulk {
		return ItemAddress{}, fmt.Errorf("%w: %q has no lane %q", ErrSubject, subject, a.Lane)
	}
	if err := parseNumbers(subject, tokens[6:], &a.Attempt); err != nil {
		return ItemAddress{}, err
	}
	return a, nil
}

// ParseRetrySubject takes the subject of waiting items apart.
func ParseRetrySubject(subject string) (ItemAddress, error) {
	tokens, err := split(subject, "retry", 10)
	if err != nil {
		return ItemAddress{}, err
	}
	a := ItemAddress{Lane: Shared, Provider: tokens[2], Integration: tokens[3], Run: tokens[4]}
	if err := parseNumbers(subject, tokens[5:], &a.Attempt, &a.Batch, &a.Index, &a.Hop); err != nil {
		return ItemAddress{}, err
	}
	if a.Members, err = strconv.ParseUint(tokens[9], 16, 64); err != nil || strconv.FormatUint(a.Members, 16) != tokens[9] {
		return ItemAddress{}, fmt.Errorf("%w: %q has %q for a hash", ErrSubject, subject, tokens[9])
	}
	return a, nil
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

func split(subject, class string, tokens int) ([]string, error) {
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

func parseNumbers(subject string, tokens []string, targets ...*int32) error {
	for i, target := range targets {
		n, err := strconv.ParseInt(tokens[i], 10, 32)
		if err != nil || n < 0 || itoa(int32(n)) != tokens[i] {
			return fmt.Errorf("%w: %q has %q for a number", ErrSubject, subject, tokens[i])
		}
		*target = int32(n)
	}
	return nil
}

func orNone(token string) string {
	if token == "" {
		return None
	}
	return token
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }

func join(tokens ...string) string { return strings.Join(tokens, ".") }
