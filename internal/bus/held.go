package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// errGone means that a message in work is no longer the one at its place in the stream.
var errGone = errors.New("the message is not in the stream any more")

// held is a message in work. Its acknowledgement names a place in the stream. When the server comes back with an older store, another message may get that place, and a late
// acknowledgement would remove it unhandled.
type held struct {
	jetstream.Msg
	bus  *Bus
	meta *jetstream.MsgMetadata
	// session is the last in which the message was known to be at its place.
	session atomic.Uint64
}

func (b *Bus) hold(msg jetstream.Msg, meta *jetstream.MsgMetadata, session uint64) *held {
	h := &held{Msg: msg, bus: b, meta: meta}
	h.session.Store(session)
	return h
}

// check returns nil if the message may be acknowledged, handed back or extended over the present connection, and [errGone] if it is not there any more. Within one session it asks
// nobody. After the connection was broken it waits for it to be back, and compares the message with what the stream has at its place.
func (h *held) check(ctx context.Context) error {
	for {
		for !h.bus.nc.IsConnected() {
			if err := pause(ctx, retryEvery); err != nil {
				return err
			}
		}
		now := h.bus.session(h.meta.Stream)
		if now == h.session.Load() {
			return nil
		}
		same, err := h.isThere(ctx)
		switch {
		case err == nil && same:
			h.session.Store(now)
		case err == nil:
			return errGone
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			h.bus.log.Debug("whether a message is still in the stream is not known yet", "subject", h.Subject(), "error", err)
			if err := pause(ctx, retryEvery); err != nil {
				return err
			}
		}
	}
}

func (h *held) isThere(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	stream, err := h.bus.js.Stream(ctx, h.meta.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", h.meta.Stream, err)
	}
	there, err := stream.GetMsg(ctx, h.meta.Sequence.Stream)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at message %d of %s: %w", h.meta.Sequence.Stream, h.meta.Stream, err)
	}
	return there.Subject == h.Subject() && there.Time.Equal(h.meta.Timestamp), nil
}
