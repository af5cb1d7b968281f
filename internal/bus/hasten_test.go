package bus_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

// TestHasten delays messages by an hour and hastens some of them: these arrive at once and only once, the others in
// their time.
func TestHasten(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := newBus(t, natstest.New(t).Connect(), bus.Options{})
		start := time.Now()
		for n, cause := range []string{"circuit", "", "budget", "circuit"} {
			at := address
			at.Index = int32(n)
			m := wire.Message{
				Subject: wire.RetrySubject(at), ID: fmt.Sprint("id", n), Body: []byte(fmt.Sprint(n)),
				Header: map[string]string{"Kept": "yes"},
			}
			if cause != "" {
				m.Header[wire.HeaderWaitsFor] = cause
			}
			if err := b.PublishAt(t.Context(), m, wire.ItemsSubject(at), start.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		hasten := func(provider string) int {
			n, err := b.Hasten(t.Context(), wire.StreamItems, wire.RetryFilter(provider, address.Integration),
				func(h nats.Header) bool {
					return h.Get(wire.HeaderWaitsFor) == "circuit"
				})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := hasten("another"); n != 0 {
			t.Errorf("%d messages of another provider were hastened", n)
		}
		if n := hasten(address.Provider); n != 2 {
			t.Errorf("%d messages were hastened, want 2", n)
		}
		got := arrivals(t, b, start, 4)
		slices.Sort(got)
		diff(t, []string{"0 after 0s", "1 after 1h0m0s", "2 after 1h0m0s", "3 after 0s"}, got)
		if n := hasten(address.Provider); n != 0 {
			t.Errorf("%d messages were hastened that have been delivered", n)
		}
		synctest.Wait()
		if left := stream(t, b, wire.StreamItems).State.Msgs; left != 0 {
			t.Errorf("%d messages are left", left)
		}
	})
}

// TestHastenOneThatIsRefused has the limit of messages lowered below the size of the first of two that wait: that one
// waits on, and the other arrives at once.
func TestHastenOneThatIsRefused(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := newBus(t, natstest.New(t).Connect(), bus.Options{})
		start := time.Now()
		for n, body := range []string{strings.Repeat("x", 5000), "small"} {
			at := address
			at.Index = int32(n)
			m := wire.Message{
				Subject: wire.RetrySubject(at), ID: fmt.Sprint("id", n), Body: []byte(body),
				Header: map[string]string{"Kept": "yes"},
			}
			if err := b.PublishAt(t.Context(), m, wire.ItemsSubject(at), start.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		config := stream(t, b, wire.StreamItems).Config
		config.MaxMsgSize = 2000
		if _, err := streams(t, b).UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		n, err := b.Hasten(t.Context(), wire.StreamItems, wire.RetryFilter(address.Provider, address.Integration),
			func(nats.Header) bool {
				return true
			})
		if n != 1 || err == nil || !strings.Contains(err.Error(), "message size exceeds maximum allowed") {
			t.Errorf("%d messages were hastened, and the error is %v", n, err)
		}
		diff(t, []string{"small after 0s"}, arrivals(t, b, start, 1))
	})
}
