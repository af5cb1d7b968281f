package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/wire"
)

// ErrFull is returned by Offer when the stream has no room.
var ErrFull = errors.New("the stream is full")

const (
	// offersPending is how many offers may wait for the broker at a time.
	offersPending = 16_000
	// offerTimeout is after how long an offer that was not answered is made again.
	offerTimeout = 2 * time.Second
)

// Offer is Publish for somebody who waits for the answer: it returns once the broker has stored the message, and tells whether it had it already. It gives up when ctx
// ends, and at once with [ErrFull] when there is no room, or [ErrTooLarge]. Many offers share their way to the broker and back.
func (b *Bus) Offer(ctx context.Context, m wire.Message) (duplicate bool, err error) {
	msg := b.wire(ctx, m)
	for {
		ack, err := b.offerOnce(ctx, msg)
		switch {
		case err == nil:
			b.histories.saw(ack.Stream, ack.Sequence)
			return ack.Duplicate, nil
		case errors.Is(err, nats.ErrMaxPayload):
			return false, fmt.Errorf("offer %s: %w: it has %d bytes", m.Subject, ErrTooLarge, len(m.Body))
		case isFull(err):
			return false, fmt.Errorf("offer %s: %w", m.Subject, ErrFull)
		case ctx.Err() != nil, !transient(err):
			return false, fmt.Errorf("offer %s: %w", m.Subject, err)
		}
		b.Restore(ctx, err)
		if pause(ctx, retryEvery) != nil {
			return false, fmt.Errorf("offer %s: %w", m.Subject, err)
		}
	}
}

func (b *Bus) offerOnce(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if !b.nc.IsConnected() {
		return nil, nats.ErrDisconnected
	}
	// The client writes its reply subject into the message: each attempt has one of its own.
	attempt := *msg
	future, err := b.offers.PublishMsgAsync(&attempt, jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(offerTimeout)
	defer timer.Stop()
	select {
	case ack := <-future.Ok():
		return ack, nil
	case err := <-future.Err():
		return nil, err
	case <-timer.C:
		return nil, nats.ErrTimeout
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// isFull reports whether the stream refuses the message because of its limits.
func isFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	const storeFailed = 10077
	return ok && api.ErrorCode == storeFailed && strings.Contains(api.Description, "maximum")
}
