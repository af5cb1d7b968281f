package bus_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

func TestTransient(t *testing.T) {
	api := func(code int, number jetstream.ErrorCode) error {
		return fmt.Errorf("nats: %w", &jetstream.APIError{Code: code, ErrorCode: number})
	}
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"duplicate message id is in process", api(409, 10158), true},
		{"too many requests", api(429, 10167), true},
		{"resource limits exceeded for account", api(400, 10002), true},
		{"insufficient resources", api(503, 10023), true},
		{"no answer", nats.ErrTimeout, true},
		{"nobody listens", nats.ErrNoResponders, true},
		{"expected stream does not match", api(400, 10060), false},
		{"another conflict", api(409, 1), false},
		{"required API level", api(412, 10185), false},
		{"too large", nats.ErrMaxPayload, false},
		{"connection closed", nats.ErrConnectionClosed, false},
	} {
		if got := bus.Transient(test.err); got != test.want {
			t.Errorf("%s is transient: %t, want %t", test.name, got, test.want)
		}
	}
}

// An id that is in process costs its message nothing, whichever way it is published. A subject outside of all streams lets the test answer in the broker's place.
func TestMessageInProcessIsPublishedAgain(t *testing.T) {
	nc := natstest.New(t).Connect()
	b := newBus(t, nc, bus.Options{})
	const inProcess = `{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"","seq":0}`
	for name, publish := range map[string]func(wire.Message) error{
		"publish": func(m wire.Message) error { return b.Publish(t.Context(), m) },
		"offer":   func(m wire.Message) error { _, err := b.Offer(t.Context(), m); return err },
		"try": func(m wire.Message) error {
			err := b.TryPublish(t.Context(), m)
			if err == nil || errors.Is(err, bus.ErrRefused) {
				return fmt.Errorf("the first try gives %w, want an error that is no refusal", err)
			}
			return b.TryPublish(t.Context(), m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			subject, asked := "elsewhere."+name, 0
			broker, err := nc.Subscribe(subject, func(m *nats.Msg) {
				if asked++; asked == 1 {
					_ = m.Respond([]byte(inProcess))
					return
				}
				_ = m.Respond([]byte(`{"stream":"S","seq":1}`))
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = broker.Unsubscribe() }()
			if err := publish(wire.Message{Subject: subject, ID: "a"}); err != nil {
				t.Error(err)
			}
		})
	}
}
