package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/events"
)

const integration = "0198c0de-0000-7000-8000-000000000001"

func TestSubjectsRoundTrip(t *testing.T) {
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
}

func TestParsersRefuse(t *testing.T) {
	command := func(s string) error { _, _, err := events.ParseCommandSubject(s); return err }
	event := func(s string) error { _, _, _, err := events.ParseEventSubject(s); return err }
	tests := []struct {
		name, subject string
		parse         func(string) error
	}{
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
