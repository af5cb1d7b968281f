package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	// maxSubject is how long a subject may be. The broker ends the connection of a client that sends a longer line than it takes, 4 KiB by default.
	maxSubject = 1 << 10
	// headerReserve is left for the trace, which is added when a message is published.
	headerReserve = 128
)

// ErrRefused is returned for a message that the broker does not take though it can be reached: trying again helps only after something else has changed.
var ErrRefused = errors.New("the broker refuses the message")

// Accepts returns [ErrRefused] for a message that the broker would refuse: one that is too large for what the broker takes at present, or has a subject that can't be.
func (b *Bus) Accepts(m wire.Message) error {
	switch {
	case len(m.Subject) > maxSubject:
		return fmt.Errorf("%w: its subject has %d bytes, it may have %d", ErrRefused, len(m.Subject), maxSubject)
	case !isSubject(m.Subject):
		return fmt.Errorf("%w: %q is no subject", ErrRefused, m.Subject)
	}
	if size, most := sizeOf(m), b.nc.MaxPayload(); most > 0 && size > most {
		return fmt.Errorf("%w: %w: %s has %d bytes with its headers, it may have %d", ErrRefused, ErrTooLarge, m.Subject, size, most)
	}
	return nil
}

// TryPublish publishes once, without waiting for a broker that is away. It returns [ErrRefused] when the broker can be reached and does not take the message; any other error says
// that nobody knows, and that the same message may be published again under its id.
func (b *Bus) TryPublish(ctx context.Context, m wire.Message) error {
	if err := b.Accepts(m); err != nil {
		return fmt.Errorf("publish %s: %w", m.Subject, err)
	}
	err := b.publishOnce(ctx, b.wire(ctx, m))
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && b.refuses(ctx, m.Subject, err) {
		return fmt.Errorf("publish %s: %w: %w", m.Subject, ErrRefused, err)
	}
	return fmt.Errorf("publish %s: %w", m.Subject, err)
}

// refuses reports whether an error of a publication is the message's own. The broker answers nothing to a message on a subject that this process may not publish on, and nothing to
// one that no stream takes.
func (b *Bus) refuses(ctx context.Context, subject string, err error) bool {
	if errors.Is(err, nats.ErrConnectionClosed) {
		return false
	}
	if !transient(err) {
		return true
	}
	if last := b.nc.LastError(); errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), `"`+subject+`"`) {
		return true
	}
	b.Restore(ctx, err)
	if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err = b.js.StreamNameBySubject(ctx, subject)
	return errors.Is(err, jetstream.ErrStreamNotFound)
}

// StreamOf is the stream that holds a bucket.
func StreamOf(bucket string) string { return bucketPrefix + bucket }

// Answers returns an error while JetStream can't be reached, or one of some streams has no leader. The stream of a
// bucket is called as [StreamOf] says.
func (b *Bus) Answers(ctx context.Context, streams ...string) error {
	if err := b.Ready(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	for _, name := range streams {
		if _, err := b.js.Stream(ctx, name); err != nil {
			return fmt.Errorf("reach %s: %w", name, err)
		}
	}
	return nil
}

func isSubject(subject string) bool {
	if strings.ContainsAny(subject, " \t\r\n*>\x00") {
		return false
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return false
		}
	}
	return true
}

// sizeOf is how much of the broker's limit a message takes.
func sizeOf(m wire.Message) int64 {
	size := len("NATS/1.0\r\n\r\n") + len(nats.MsgIdHdr) + len(": \r\n") + len(m.ID) + headerReserve + len(m.Body)
	for key, value := range m.Header {
		size += len(key) + len(": \r\n") + len(value)
	}
	return int64(size)
}
