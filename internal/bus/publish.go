package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"

	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	publishTimeout = 3 * time.Second
	retryEvery     = 250 * time.Millisecond
	// tooManyRequests is the status of a server that can't take more at the moment.
	tooManyRequests = 429
	// idInProcess refuses a message while another with its id is on its way into the stream, as in a cluster after a lost
	// acknowledgement. Once that one is stored, the answer is that the message is a duplicate; if it failed, the message is stored.
	idInProcess jetstream.ErrorCode = 10158
	// accountFull refuses what would exceed the account's limits, which lasts until something is removed.
	accountFull jetstream.ErrorCode = 10002
	// payloadReserve is left of the broker's limit for headers, which count towards it.
	payloadReserve = 4 << 10
)

// ErrTooLarge is returned by Publish for a message that the broker would refuse whatever is done.
var ErrTooLarge = errors.New("message is larger than the broker accepts")

// MaxBody is the largest body that a message can have.
func (b *Bus) MaxBody() int { return int(b.nc.MaxPayload()) - payloadReserve }

// Publish returns once the broker has stored the message, or has it already. While the broker can't be reached it tries again under the
// same id, until ctx ends. It returns [ErrTooLarge] for what can never be stored.
func (b *Bus) Publish(ctx context.Context, m wire.Message) error {
	return b.insistPublish(ctx, m, b.wire(ctx, m))
}

// PublishAt is Publish of a message that the stream itself delays: it waits under its subject, one at a time there, and is delivered on target, a
// subject of the same stream, once the time has come.
func (b *Bus) PublishAt(ctx context.Context, m wire.Message, target string, at time.Time) error {
	msg := b.wire(ctx, m)
	msg.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	msg.Header.Set("Nats-Schedule-Target", target)
	return b.insistPublish(ctx, m, msg)
}

func (b *Bus) insistPublish(ctx context.Context, m wire.Message, msg *nats.Msg) error {
	for {
		err := b.publishOnce(ctx, msg)
		if err == nil {
			return nil
		}
		if errors.Is(err, nats.ErrMaxPayload) {
			return fmt.Errorf("publish %s: %w: it has %d bytes", m.Subject, ErrTooLarge, len(m.Body))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("publish %s: %w", m.Subject, ctx.Err())
		}
		if !transient(err) {
			return fmt.Errorf("publish %s: %w", m.Subject, err)
		}
		b.log.Debug("publication not acknowledged, trying again under the same id", "subject", m.Subject, "id", m.ID, "error", err)
		b.Restore(ctx, err)
		if err := pause(ctx, retryEvery); err != nil {
			return fmt.Errorf("publish %s: %w", m.Subject, err)
		}
	}
}

func (b *Bus) publishOnce(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err == nil {
		b.histories.saw(ack.Stream, ack.Sequence)
		watchdog.Alive(ctx)
	}
	return err
}

func (b *Bus) wire(ctx context.Context, m wire.Message) *nats.Msg {
	msg := &nats.Msg{Subject: m.Subject, Data: m.Body, Header: nats.Header{}}
	for key, value := range m.Header {
		msg.Header.Set(key, value)
	}
	if m.ID != "" {
		msg.Header.Set(nats.MsgIdHdr, m.ID)
	}
	// A message from the outbox brings the trace of the transaction that wrote it.
	if trace := carrier(msg.Header); trace.Get("traceparent") == "" {
		propagation.TraceContext{}.Inject(ctx, trace)
	}
	return msg
}

// carrier takes the trace through NATS headers. They are case-sensitive, and other clients write traceparent in more than one way.
type carrier nats.Header

func (c carrier) Get(key string) string {
	for k, values := range c {
		if strings.EqualFold(k, key) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func (c carrier) Set(key, value string) { c[key] = []string{value} }

func (c carrier) Keys() []string { return slices.Collect(maps.Keys(c)) }

// transient reports whether trying again may help.
func transient(err error) bool {
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubject) ||
		errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		// 5xx is the server's own trouble: no leader, no space, starting up. 429 asks to come again.
		return api.Code >= 500 || api.Code == tooManyRequests || api.ErrorCode == idInProcess || api.ErrorCode == accountFull
	}
	return true
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
