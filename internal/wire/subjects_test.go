package wire_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

const (
	integration = "0198c0de-0000-7000-8000-000000000001"
	run         = "0198c0de-0000-7000-8000-000000000002"
)

func TestItemSubjectsRoundTrip(t *testing.T) {
	tests := []struct {
		name    string
		address wire.ItemAddress
		build   func(wire.ItemAddress) string
		parse   func(string) (wire.ItemAddress, error)
		subject string
	}{
		{
			"shared",
			wire.ItemAddress{Lane: wire.Shared, Provider: "github", Integration: integration, Run: run, Attempt: 1},
			wire.ItemsSubject, wire.ParseItemsSubject,
			"tributary.items.shared.github." + integration + "." + run + ".1",
		},
		{
			"bulk",
			wire.ItemAddress{
				Lane: wire.Bulk, Provider: "my-shop_2", Integration: integration, Run: run,
				Attempt: math.MaxInt32,
			},
			wire.ItemsSubject, wire.ParseItemsSubject,
			"tributary.items.bulk.my-shop_2." + integration + "." + run + ".2147483647",
		},
		{
			"retry",
			wire.ItemAddress{
				Lane: wire.Shared, Provider: "github", Integration: integration, Run: run, Attempt: 2, Batch: 0,
				Index: 255, Hop: 7, Members: math.MaxUint64,
			},
			wire.RetrySubject, wire.ParseRetrySubject,
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
	provider, in, err := wire.ParseSyncDueSubject(wire.SyncDueSubject("github", integration))
	if err != nil || provider != "github" || in != integration {
		t.Errorf("due: %q %q %v", provider, in, err)
	}
	if got, want := wire.APISubject("token", "refresh", "github"), "tributary.api.token.refresh.github"; got != want {
		t.Errorf("api subject is %s, want %s", got, want)
	}
	if got, want := wire.APISubject("runs", "list", ""), "tributary.api.runs.list"; got != want {
		t.Errorf("api subject is %s, want %s", got, want)
	}
}

func TestParsersRefuse(t *testing.T) {
	items := func(s string) error { _, err := wire.ParseItemsSubject(s); return err }
	retry := func(s string) error { _, err := wire.ParseRetrySubject(s); return err }
	due := func(s string) error { _, _, err := wire.ParseSyncDueSubject(s); return err }
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
	address := wire.ItemAddress{
		Lane: wire.Bulk, Provider: "p", Integration: "i", Run: "r", Attempt: 1, Batch: 2,
		Index: 3, Hop: 4, Members: 5,
	}
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
			filters := wire.RunFilters("p", "i", "r", tt.attempt)
			for _, c := range []struct {
				address wire.ItemAddress
				want    bool
			}{{address, tt.first}, {tenth, tt.tenth}, {other, tt.other}} {
				for _, subject := range []string{wire.ItemsSubject(c.address), wire.RetrySubject(c.address)} {
					if got := matchesAny(filters, subject); got != c.want {
						t.Errorf("%v cover %s: %t, want %t", filters, subject, got, c.want)
					}
				}
			}
		})
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
		if a, err := wire.ParseItemsSubject(subject); err == nil && wire.ItemsSubject(a) != subject {
			t.Errorf("%q parses to %+v, which is %q", subject, a, wire.ItemsSubject(a))
		}
	})
}

func FuzzParseRetrySubject(f *testing.F) {
	f.Add("tributary.retry.github.i.r.1.2.3.4.cbf29ce484222325")
	f.Add("tributary.retry.github.i.r.1.-2.+3.99999999999.0a")
	f.Fuzz(func(t *testing.T, subject string) {
		if a, err := wire.ParseRetrySubject(subject); err == nil && wire.RetrySubject(a) != subject {
			t.Errorf("%q parses to %+v, which is %q", subject, a, wire.RetrySubject(a))
		}
	})
}

func FuzzParseSyncDueSubject(f *testing.F) {
	f.Add("tributary.sync.due.github.i")
	f.Fuzz(func(t *testing.T, subject string) {
		if p, i, err := wire.ParseSyncDueSubject(subject); err == nil && wire.SyncDueSubject(p, i) != subject {
			t.Errorf("%q parses to %q, %q", subject, p, i)
		}
	})
}
