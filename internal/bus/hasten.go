package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	scheduleHeader = "Nats-Schedule"
	targetHeader   = "Nats-Schedule-Target"
	// hastened is what the id of a message that was hastened has after its own.
	hastened = "/hastened/"
	// wrongLastSequence refuses a message because another stands in its place.
	wrongLastSequence jetstream.ErrorCode = 10071
	// mostRefused is how many refusals of the broker's one call tells.
	mostRefused = 3
)

// Hasten has delayed messages of a stream delivered now: those that wait under subjects which match a filter and that
// wanted chooses by its header. Each is replaced by its like in one step, so that none is lost; one that has been
// delivered meanwhile is left alone. One that the broker refuses waits on, and the others go on; the error names the
// first few of those. It takes two round trips for each chosen message.
func (b *Bus) Hasten(ctx context.Context, stream, filter string, wanted func(nats.Header) bool) (n int, err error) {
	delayed, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("look for delayed messages of %s: %w", stream, err)
	}
	var refused []error
	// What takes the place of a message comes after the last that there is now, and is not for this call.
	last := delayed.CachedInfo().State.LastSeq
	for next := uint64(1); next <= last; {
		found, err := delayed.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return n, fmt.Errorf("read delayed messages of %s: %w", stream, err)
		}
		next = found.Sequence + 1
		if found.Sequence > last {
			break
		}
		if found.Header.Get(scheduleHeader) == "" || !wanted(found.Header) {
			continue
		}
		replaced, err := b.replaceDelayed(ctx, found)
		if apiErr := (*jetstream.APIError)(nil); errors.As(err, &apiErr) {
			if len(refused) < mostRefused {
				refused = append(refused, err)
			}
			continue
		}
		if err != nil {
			return n, err
		}
		if replaced {
			n++
		}
	}
	return n, errors.Join(refused...)
}

// replaceDelayed puts a message that is due now in the place of a delayed one, unless that has gone.
func (b *Bus) replaceDelayed(ctx context.Context, found *jetstream.RawStreamMsg) (bool, error) {
	msg := &nats.Msg{Subject: found.Subject, Data: found.Data, Header: nats.Header{}}
	maps.Copy(msg.Header, found.Header)
	// When it was stored is past by the broker's clock, whatever this machine's says.
	msg.Header.Set(scheduleHeader, "@at "+found.Time.UTC().Format(time.RFC3339Nano))
	msg.Header.Set(targetHeader, found.Header.Get(targetHeader))
	// The same message is hastened once under this id, and again when it was delayed again.
	id, _, _ := strings.Cut(found.Header.Get(nats.MsgIdHdr), hastened)
	msg.Header.Set(nats.MsgIdHdr, id+hastened+strconv.FormatUint(found.Sequence, 10))
	msg.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(found.Sequence, 10))
	err := b.publishOnce(ctx, msg)
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.ErrorCode == wrongLastSequence {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("hasten %s: %w", found.Subject, err)
	}
	return true, nil
}
