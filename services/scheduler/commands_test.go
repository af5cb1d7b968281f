package scheduler_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// publish sends a command to the stream, whatever its subject is.
func (f *fixture) publish(t *testing.T, subject string, body []byte) {
	t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(subject, body); err != nil {
		t.Fatalf("publish %q: %v", subject, err)
	}
}

// commandsLeft is how many commands the stream holds.
func (f *fixture) commandsLeft(t *testing.T) uint64 {
	t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(wire.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

// TestOddCommandsAreAnswered sends commands whose subject is no text, no command or very long: each is answered by one
// event, and leaves the stream.
func TestOddCommandsAreAnswered(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	long := make([]byte, 3000)
	for i := range long {
		long[i] = 'x'
	}
	odd := []string{
		"tributary.commands.sync.\xff", "tributary.commands.\xff.a", "tributary.commands.sync.\x01\x1b[2J", "tributary.commands.sync",
		"tributary.commands.sync.a.b.c", "tributary.commands.nothing.a", "tributary.commands.sync." + string(long),
	}
	for _, subject := range odd {
		f.publish(t, subject, []byte("\xff"))
	}
	for range odd {
		body := f.event(t, events.CommandRejected)
		reason, _ := body["reason"].(string)
		integration, _ := body["integration"].(string)
		if reason == "" || len(reason) > 1000 || len(integration) > 200 {
			t.Errorf("the answer is not bounded: %d bytes of reason, %d of integration", len(reason), len(integration))
		}
	}
	await(t, "an empty stream", func() bool { return f.commandsLeft(t) == 0 })
}

// TestReasonsOfRejectionsAreBounded sends a command that is refused with its own long text.
func TestReasonsOfRejectionsAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	created := f.mustCreate(t, newShop("one"))
	item := make([]byte, 100_000)
	for i := range item {
		item[i] = 'x'
	}
	body, err := json.Marshal(map[string]string{"item": string(item)})
	if err != nil {
		t.Fatal(err)
	}
	f.publish(t, events.CommandSubject(events.VerbRetry, created.ID), body)
	reason, _ := f.event(t, events.CommandRejected)["reason"].(string)
	if reason == "" || len(reason) > 1000 || !utf8.ValidString(reason) {
		t.Errorf("the reason has %d bytes, want 1000 at most", len(reason))
	}
}
