package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tributaryhq/tributary/pkg/events"
)

// Lane is one of the two ways that items take. See "Fair share" in docs/architecture.md.
type Lane string

const (
	// Shared carries the first batch of every run and everything that is published again.
	Shared Lane = "shared"
	// Bulk carries all other batches.
	Bulk Lane = "bulk"
)

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
	return join(events.Root, "sync", "due", provider, integration)
}

// SyncDueFilter is every due run of a provider.
func SyncDueFilter(provider string) string { return join(events.Root, "sync", "due", provider, "*") }

// ItemsSubject is where a batch travels.
func ItemsSubject(a ItemAddress) string {
	return join(events.Root, "items", string(a.Lane), a.Provider, a.Integration, a.Run, itoa(a.Attempt))
}

// ItemsFilter is every batch of a provider in a lane.
func ItemsFilter(lane Lane, provider string) string {
	return join(events.Root, "items", string(lane), provider, ">")
}

// RetrySubject is where items wait for their next hop. It tells them apart from all others that wait, for the broker
// keeps one schedule a subject: after a crash a batch may fall into other groups, of which some have the same first
// item.
func RetrySubject(a ItemAddress) string {
	return join(events.Root, "retry", a.Provider, a.Integration, a.Run, itoa(a.Attempt), itoa(a.Batch), itoa(a.Index),
		itoa(a.Hop),
		strconv.FormatUint(a.Members, 16))
}

// RetryFilter are the subjects under which items of an integration wait for their next hop.
func RetryFilter(provider, integration string) string {
	return join(events.Root, "retry", provider, integration, ">")
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
		join(events.Root, "items", "*", provider, integration, run, last),
		join(events.Root, "retry", provider, integration, run, retryLast),
	}
}

// WebhooksSubject is where a verified delivery travels.
func WebhooksSubject(provider, integration string) string {
	return join(events.Root, "webhooks", provider, integration)
}

// WebhooksFilter is every delivery to a provider's integrations.
func WebhooksFilter(provider string) string { return join(events.Root, "webhooks", provider, "*") }

// APISubject is a request-reply endpoint; provider is empty where any instance may answer.
func APISubject(noun, verb, provider string) string {
	if provider == "" {
		return join(events.Root, "api", noun, verb)
	}
	return join(events.Root, "api", noun, verb, provider)
}

// ParseSyncDueSubject takes a due event's subject apart.
func ParseSyncDueSubject(subject string) (provider, integration string, err error) {
	tokens, err := events.Tokens(subject, "sync", 5)
	if err != nil {
		return "", "", err
	}
	if tokens[2] != "due" {
		return "", "", fmt.Errorf("%w: %q is not %s.sync.due.<provider>.<integration>", events.ErrSubject,
			subject, events.Root)
	}
	return tokens[3], tokens[4], nil
}

// ParseItemsSubject takes a batch's subject apart.
func ParseItemsSubject(subject string) (ItemAddress, error) {
	tokens, err := events.Tokens(subject, "items", 7)
	if err != nil {
		return ItemAddress{}, err
	}
	a := ItemAddress{Lane: Lane(tokens[2]), Provider: tokens[3], Integration: tokens[4], Run: tokens[5]}
	if a.Lane != Shared && a.Lane != Bulk {
		return ItemAddress{}, fmt.Errorf("%w: %q has no lane %q", events.ErrSubject, subject, a.Lane)
	}
	if err := parseNumbers(subject, tokens[6:], &a.Attempt); err != nil {
		return ItemAddress{}, err
	}
	return a, nil
}

// ParseRetrySubject takes the subject of waiting items apart.
func ParseRetrySubject(subject string) (ItemAddress, error) {
	tokens, err := events.Tokens(subject, "retry", 10)
	if err != nil {
		return ItemAddress{}, err
	}
	a := ItemAddress{Lane: Shared, Provider: tokens[2], Integration: tokens[3], Run: tokens[4]}
	if err := parseNumbers(subject, tokens[5:], &a.Attempt, &a.Batch, &a.Index, &a.Hop); err != nil {
		return ItemAddress{}, err
	}
	if a.Members, err = strconv.ParseUint(tokens[9], 16, 64); err != nil ||
		strconv.FormatUint(a.Members, 16) != tokens[9] {
		return ItemAddress{}, fmt.Errorf("%w: %q has %q for a hash", events.ErrSubject, subject, tokens[9])
	}
	return a, nil
}

func parseNumbers(subject string, tokens []string, targets ...*int32) error {
	for i, target := range targets {
		n, err := strconv.ParseInt(tokens[i], 10, 32)
		if err != nil || n < 0 || itoa(int32(n)) != tokens[i] {
			return fmt.Errorf("%w: %q has %q for a number", events.ErrSubject, subject, tokens[i])
		}
		*target = int32(n)
	}
	return nil
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }

func join(tokens ...string) string { return strings.Join(tokens, ".") }
