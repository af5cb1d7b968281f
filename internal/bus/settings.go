package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// mendedStream returns a stream's settings without those that lose messages, or have it refuse what it is there for, and
// the names of what was changed. Limits that refuse messages are left: an operator may set them, and readiness tells
// when they are reached. So are settings that harm nobody, as placement.
func mendedStream(want, has jetstream.StreamConfig) (mended jetstream.StreamConfig, changed []string) {
	m := has
	set := func(name string, harmful bool, mend func()) {
		if harmful {
			mend()
			changed = append(changed, name)
		}
	}
	lower := func(has, want int64) bool { return has > 0 && (want <= 0 || has < want) }
	loses := has.Discard == jetstream.DiscardOld
	set("max_msgs", loses && lower(has.MaxMsgs, want.MaxMsgs), func() { m.MaxMsgs = want.MaxMsgs })
	set("max_bytes", loses && lower(has.MaxBytes, want.MaxBytes), func() { m.MaxBytes = want.MaxBytes })
	set("discard", loses && want.Discard != has.Discard, func() { m.Discard = want.Discard })
	set("max_msgs_per_subject", loses && lower(has.MaxMsgsPerSubject, want.MaxMsgsPerSubject), func() { m.MaxMsgsPerSubject = want.MaxMsgsPerSubject })
	set("max_age", lower(int64(has.MaxAge), int64(want.MaxAge)), func() { m.MaxAge = want.MaxAge })
	set("duplicate_window", lower(int64(has.Duplicates), int64(want.Duplicates)) && want.Duplicates > 0, func() { m.Duplicates = want.Duplicates })
	set("max_msg_size", lower(int64(has.MaxMsgSize), int64(want.MaxMsgSize)), func() { m.MaxMsgSize = want.MaxMsgSize })
	set("no_ack", has.NoAck, func() { m.NoAck = false })
	set("subject_transform", has.SubjectTransform != nil, func() { m.SubjectTransform = nil })
	set("allow_rollup_hdrs", want.AllowRollup && !has.AllowRollup, func() { m.AllowRollup = true })
	set("allow_msg_schedules", want.AllowMsgSchedules && !has.AllowMsgSchedules, func() { m.AllowMsgSchedules = true })
	lacks := func(subject string) bool { return !slices.Contains(has.Subjects, subject) }
	set("subjects", slices.ContainsFunc(want.Subjects, lacks), func() { m.Subjects = want.Subjects })
	return m, changed
}

// mendStream sets back what others than the services have changed of a stream, as [mendedStream] says.
func (b *Bus) mendStream(ctx context.Context, want, has jetstream.StreamConfig) error {
	mended, changed := mendedStream(want, has)
	if len(changed) == 0 {
		return nil
	}
	name := strings.TrimPrefix(want.Name, bucketPrefix)
	if _, err := b.js.UpdateStream(ctx, mended); err != nil {
		return fmt.Errorf("%s has other settings than it needs (%s), and they can't be set back: %w", name, strings.Join(changed, ", "), err)
	}
	b.log.Warn("settings of a stream or bucket were changed so that messages would be lost or refused; they are set back", "store", name, "settings", changed)
	return nil
}

// harmedConsumer names the settings of a consumer that were changed so that messages would stay, or be handed out twice.
func harmedConsumer(want, has jetstream.ConsumerConfig) (changed []string) {
	lower := func(has, want int) bool { return has > 0 && has < want }
	for _, setting := range []struct {
		name    string
		harmful bool
	}{
		{"max_deliver", has.MaxDeliver > 0},
		{"filter_subject", has.FilterSubject != want.FilterSubject || !slices.Equal(has.FilterSubjects, want.FilterSubjects)},
		{"max_ack_pending", lower(has.MaxAckPending, want.MaxAckPending)},
		{"ack_wait", has.AckWait < want.AckWait},
		{"backoff", len(has.BackOff) > 0},
		{"headers_only", has.HeadersOnly},
		{"max_batch", has.MaxRequestBatch > 0},
		{"max_expires", has.MaxRequestExpires > 0},
		{"max_bytes", has.MaxRequestMaxBytes > 0},
		{"inactive_threshold", has.InactiveThreshold > 0},
	} {
		if setting.harmful {
			changed = append(changed, setting.name)
		}
	}
	return changed
}

// mendConsumer sets back what others than the services have changed of a consumer, as [harmedConsumer] says. Whoever
// pauses a consumer means it: that is told, and left.
func (b *Bus) mendConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig, info *jetstream.ConsumerInfo) error {
	changed := harmedConsumer(want, info.Config)
	if len(changed) == 0 && info.Paused {
		return fmt.Errorf("somebody paused it for another %s; to go on, run: nats consumer resume %s %s",
			info.PauseRemaining.Round(time.Second), stream, want.Durable)
	}
	if len(changed) == 0 {
		return nil
	}
	if _, err := b.js.UpdateConsumer(ctx, stream, want); err != nil {
		return fmt.Errorf("it has other settings than it needs (%s), and they can't be set back: %w", strings.Join(changed, ", "), err)
	}
	b.log.Warn("settings of a consumer were changed so that messages would stay or come twice; they are set back", "consumer", want.Durable, "settings", changed)
	return nil
}
