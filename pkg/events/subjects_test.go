package events_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/events"
)

const (
	integration = "0198c0de-0000-7000-8000-000000000001"
	run         = "0198c0de-0000-7000-8000-000000000002"
)

func TestItemSubjectsRoundTrip(t *testing.T) {
	tests := []struct {
		name    string
		address events.ItemAddress
		build   func(events.ItemAddress) string
		parse   func(string) (events.ItemAddress, error)
		subject string
	}{
		{
			"shared",
			events.ItemAddress{Lane: events.Shared, Provider: "github", Integration: integration, Run: run, Attempt: 1},
			events.ItemsSubject, events.ParseItemsSubject,
			"tributary.items.shared.github." + integration + "." + run + ".1",
		},
		{
			"bulk",
			events.ItemAddress{Lane: events.Bulk, Provider: "my-shop_2", Integration: integration, Run: run, Attempt: math.MaxInt32},
			events.ItemsSubject, events.ParseItemsSubject,
			"tributary.items.bulk.my-shop_2." + integration + "." + run + ".2147483647",
		},
		{
			"retry",
			events.ItemAddress{
				Lane: events.Shared, Provider: "github", Integration: integration, Run: run, Attempt: 2, Batch: 0, Index: 255, Hop: 7, Members: math.MaxUint64,
			},
			events.RetrySubject, events.ParseRetrySubject,
			"tributary.retry.github." + integration + "." + run + ".2.0.255.7.ffffffffffffffff",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			subject := tt.build(tt.address)
			if subject != tt.subject {
				t.Errorf("subject is %s, want %s", subject, tt.subject)
			}
			got, err := tt.parse(subject)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.address, got); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOtherSubjectsRoundTrip(t *testing.T) {
	provider, in, err := events.ParseSyncDueSubject(events.SyncDueSubject("github", integration))
	if err != nil || provider != "github" || in != integration {
		t.Errorf("due: %q %q %v", provider, in, err)
	}
	for _, verb := range events.Verbs() {
		got, in, err := events.ParseCommandSubject(events.CommandSubject(verb, integration))
		if err != nil || got != verb || in != integration {
			t.Errorf("command %s: %q %q %v", verb, got, in, err)
		}
	}
	name, provider, in, err := events.ParseEventSubject(events.EventSubject(events.CommandRejected, "", ""))
	if err != nil || name != events.CommandRejected || provider != events.None || in != events.None {
		t.Errorf("event without an integration: %q %q %q %v", name, provider, in, err)
	}
	if got, want := events.APISubject("token", "refresh", "github"), "tributary.api.token.refresh.github"; got != want {
		t.Errorf("api subject is %s, want %s", got, want)
	}
	if got, want := events.APISubject("runs", "list", ""), "tributary.api.runs.list"; got != want {
		t.Errorf("api subject is %s, want %s", got, want)
	}
}

func TestParsersRefuse(t *testing.T) {
	items := func(s string) error { _, err := events.ParseItemsSubject(s); return err }
	retry := func(s string) error { _, err := events.ParseRetrySubject(s); return err }
	due := func(s string) error { _, _, err := events.ParseSyncDueSubject(s); return err }
	command := func(s string) error { _, _, err := events.ParseCommandSubject(s); return err }
	event := func(s string) error { _, _, _, err := events.ParseEventSubject(s); return err }
	tests := []struct {
		name, subject string
		parse         func(string) error
	}{
		{"empty", "", items},
		{"other root", "other.items.shared.github.i.r.1", items},
		{"other class", "tributary.retry.shared.github.i.r.1", items},
		{"token missing", "tributary.items.shared.github.i.r", items},
		{"token too many", "tributary.items.shared.github.i.r.1.2", items},
		{"unknown lane", "tributary.items.fast.github.i.r.1", items},
		{"empty token", "tributary.items.shared..i.r.1", items},
		{"wildcard", "tributary.items.shared.*.i.r.1", items},
		{"rest wildcard", "tributary.items.shared.github.i.r.>", items},
		{"space", "tributary.items.shared.git hub.i.r.1", items},
		{"not a number", "tributary.items.shared.github.i.r.one", items},
		{"negative", "tributary.items.shared.github.i.r.-1", items},
		{"plus sign", "tributary.items.shared.github.i.r.+1", items},
		{"leading zero", "tributary.items.shared.github.i.r.01", items},
		{"too large", "tributary.items.shared.github.i.r.2147483648", items},
		{"token too long", "tributary.items.shared." + strings.Repeat("a", 101) + ".i.r.1", items},
		{"retry with a number missing", "tributary.retry.github.i.r.1.2.3.a", retry},
		{"retry with a word for a number", "tributary.retry.github.i.r.1.2.x.4.a", retry},
		{"retry without a hash", "tributary.retry.github.i.r.1.2.3.4", retry},
		{"retry with a word for a hash", "tributary.retry.github.i.r.1.2.3.4.word", retry},
		{"retry with a hash in capitals", "tributary.retry.github.i.r.1.2.3.4.A", retry},
		{"retry with a hash too long", "tributary.retry.github.i.r.1.2.3.4.10000000000000000", retry},
		{"not due", "tributary.sync.now.github.i", due},
		{"due without integration", "tributary.sync.due.github", due},
		{"command without integration", "tributary.commands.sync", command},
		{"command to everybody", "tributary.commands.sync.>", command},
		{"event without provider", "tributary.events.run-started.i", event},
		{"umlaut", "tributary.events.run-started.gïthub.i", event},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.parse(tt.subject); !errors.Is(err, events.ErrSubject) {
				t.Errorf("parsing %q gives %v, want an error of ErrSubject", tt.subject, err)
			}
		})
	}
}

func TestRunFilters(t *testing.T) {
	address := events.ItemAddress{Lane: events.Bulk, Provider: "p", Integration: "i", Run: "r", Attempt: 1, Batch: 2, Index: 3, Hop: 4, Members: 5}
	tenth, other := address, address
	tenth.Attempt, other.Run = 10, "r2"
	tests := []struct {
		name                string
		attempt             int32
		first, tenth, other bool
	}{
		{"every attempt", 0, true, true, false},
		{"one attempt", 1, true, false, false},
		{"an attempt that there is not", 2, false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			filters := events.RunFilters("p", "i", "r", tt.attempt)
			for _, c := range []struct {
				address events.ItemAddress
				want    bool
			}{{address, tt.first}, {tenth, tt.tenth}, {other, tt.other}} {
				for _, subject := range []string{events.ItemsSubject(c.address), events.RetrySubject(c.address)} {
					if got := matchesAny(filters, subject); got != c.want {
						t.Errorf("%v cover %s: %t, want %t", filters, subject, got, c.want)
					}
				}
			}
		})
	}
}

func TestValidToken(t *testing.T) {
	for _, token := range []string{"a", "Z9", "my-shop_2", events.None, strings.Repeat("x", 100)} {
		if !events.ValidToken(token) {
			t.Errorf("%q is refused", token)
		}
	}
	for _, token := range []string{"", ".", "*", ">", "a b", "a.b", "é", "a\x00", strings.Repeat("x", 101)} {
		if events.ValidToken(token) {
			t.Errorf("%q is accepted", token)
		}
	}
}

// matchesAny is the broker's matching of subjects, kept simple.
func matchesAny(filters []string, subject string) bool {
	for _, filter := range filters {
		if matches(strings.Split(filter, "."), strings.Split(subject, ".")) {
			return true
		}
	}
	return false
}

func matches(filter, subject []string) bool {
	for i, token := range filter {
		if token == ">" {
			return len(subject) > i
		}
		if i >= len(subject) || token != "*" && token != subject[i] {
			return false
		}
	}
	return len(filter) == len(subject)
}

func FuzzParseItemsSubject(f *testing.F) {
	f.Add("tributary.items.shared.github.i.r.1")
	f.Add("tributary.items.bulk.github.i.r.007")
	f.Fuzz(func(t *testing.T, subject string) {
		if a, err := events.ParseItemsSubject(subject); err == nil && events.ItemsSubject(a) != subject {
			t.Errorf("%q parses to %+v, which is %q", subject, a, events.ItemsSubject(a))
		}
	})
}

func FuzzParseRetrySubject(f *testing.F) {
	f.Add("tributary.retry.github.i.r.1.2.3.4.cbf29ce484222325")
	f.Add("tributary.retry.github.i.r.1.-2.+3.99999999999.0a")
	f.Fuzz(func(t *testing.T, subject string) {
		if a, err := events.ParseRetrySubject(subject); err == nil && events.RetrySubject(a) != subject {
			t.Errorf("%q parses to %+v, which is %q", subject, a, events.RetrySubject(a))
		}
	})
}

func FuzzParseSyncDueSubject(f *testing.F) {
	f.Add("tributary.sync.due.github.i")
	f.Fuzz(func(t *testing.T, subject string) {
		if p, i, err := events.ParseSyncDueSubject(subject); err == nil && events.SyncDueSubject(p, i) != subject {
			t.Errorf("%q parses to %q, %q", subject, p, i)
		}
	})
}

func FuzzParseCommandSubject(f *testing.F) {
	f.Add("tributary.commands.sync.i")
	f.Fuzz(func(t *testing.T, subject string) {
		if v, i, err := events.ParseCommandSubject(subject); err == nil && events.CommandSubject(v, i) != subject {
			t.Errorf("%q parses to %q, %q", subject, v, i)
		}
	})
}

func FuzzParseEventSubject(f *testing.F) {
	f.Add("tributary.events.run-started.github.i")
	f.Add("tributary.events.command-rejected._._")
	f.Fuzz(func(t *testing.T, subject string) {
		if n, p, i, err := events.ParseEventSubject(subject); err == nil && events.EventSubject(n, p, i) != subject {
			t.Errorf("%q parses to %q, %q, %q", subject, n, p, i)
		}
	})
}
