package itemworker

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// hop is a message that brings items of the batch again, after a delay. It keeps its items, and with them its id,
// however often it is tried.
type hop struct {
	items []*eventsv1.Item
	delay time.Duration
	// parkedAt is since when the items wait for their integration to be resumed; nil for those that wait for anything
	// else.
	parkedAt *timestamppb.Timestamp
	// cause is what the items wait for.
	cause deferral.Cause
	// why is what the last try of each item came to, by its index.
	why map[int32]foreign.Text
	// due is when the message comes, once it is published.
	due time.Time
}

// halves are the two messages that bring what this one has.
func (h *hop) halves() []*hop {
	first, second := *h, *h
	half := len(h.items) / 2
	first.items, second.items = h.items[:half], h.items[half:]
	return []*hop{&first, &second}
}

// outcome is what is written down of an item that the message brings again.
func (h *hop) outcome(item *eventsv1.Item) *eventsv1.Outcome {
	why := h.why[item.GetIndex()]
	if h.cause == deferral.Pause && why == "" {
		why = foreign.Of(errPaused)
	}
	return &eventsv1.Outcome{
		Index: item.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_RETRYING, Hop: item.GetHop(),
		Reason: reasonOf(why),
		Wait: &eventsv1.Wait{
			EventType: item.GetEventType(), ExternalId: item.GetExternalId(), Tries: item.GetTries(),
			Until: h.due.Unix(),
		},
	}
}

// reasonOf is as much of a text as an outcome keeps.
func reasonOf(text foreign.Text) string {
	return foreign.Clean(text.String(), checkpoint.MaxReason).String()
}

// hopsOf prepares the messages that bring items again later: those with the same delay, number of tries and cause as
// one.
func (j *job) hopsOf(again []result) []*hop {
	type group struct {
		delay time.Duration
		tries int32
		cause deferral.Cause
	}
	groups := map[group]*hop{}
	hops := make([]*hop, 0, len(again))
	for _, r := range again {
		next := &eventsv1.Item{
			Index: r.item.GetIndex(), EventType: r.item.GetEventType(), ExternalId: r.item.GetExternalId(),
			Payload:    r.item.GetPayload(),
			Checkpoint: r.item.GetCheckpoint(), Tries: r.item.GetTries(), Hop: r.item.GetHop() + 1,
			Deferrals: r.item.GetDeferrals() + 1,
		}
		if r.failed {
			next.Tries++
			next.Deferrals = 0
			j.worker.Log.Info("item failed, to be tried again", "run", j.Batch.GetRunId(), "event", next.GetEventType(),
				"external_id", next.GetExternalId(), "tries", next.GetTries(), "delay", r.delay, "error", r.err)
		}
		key := group{delay: r.delay.Round(time.Second), tries: next.GetTries(), cause: r.cause}
		if groups[key] == nil {
			delay := fate.Spread(key.delay)
			if key.delay == 0 {
				delay = time.Second
			}
			groups[key] = &hop{delay: delay, cause: r.cause, why: map[int32]foreign.Text{}}
			hops = append(hops, groups[key])
		}
		groups[key].items = append(groups[key].items, next)
		groups[key].why[next.GetIndex()] = r.errorText()
	}
	return hops
}

// publish publishes a hop as one delayed message. Its subject and its id tell the items apart from those of any other
// message with the same first item, for after a crash the same batch may fall into other groups.
func (j *job) publish(ctx context.Context, h *hop) error {
	items := h.items
	slices.SortFunc(items, func(a, b *eventsv1.Item) int { return cmp.Compare(a.GetIndex(), b.GetIndex()) })
	members := fnv.New64a()
	for _, item := range items {
		_, _ = fmt.Fprintf(members, "%d,", item.GetIndex())
	}
	address := wire.ItemAddress{
		Lane: wire.Shared, Provider: j.Batch.GetProvider(), Integration: j.Batch.GetIntegrationId(),
		Run:     j.Batch.GetRunId(),
		Attempt: j.Batch.GetAttempt(), Batch: j.Batch.GetBatch(), Index: items[0].GetIndex(), Hop: items[0].GetHop(),
		Members: members.Sum64(),
	}
	id := fmt.Sprintf("%s/%d/%d/%d/%d/%x", address.Run, address.Attempt, address.Batch, address.Index, address.Hop,
		address.Members)
	m, err := wire.NewWork(wire.RetrySubject(address), id, &eventsv1.ItemBatch{
		RunId: j.Batch.GetRunId(), Attempt: j.Batch.GetAttempt(), Batch: j.Batch.GetBatch(),
		IntegrationId: j.Batch.GetIntegrationId(),
		Provider:      j.Batch.GetProvider(), Items: items, FirstAt: j.Batch.GetFirstAt(), ParkedAt: h.parkedAt,
		DeadItemId: j.Batch.GetDeadItemId(),
	})
	if err != nil {
		return err
	}
	if h.cause != deferral.None {
		m.Header[wire.HeaderWaitsFor] = string(h.cause)
	}
	h.due = j.worker.Now().Add(h.delay)
	if err := j.worker.Bus.PublishAt(ctx, m, wire.ItemsSubject(address), h.due); err != nil {
		return err
	}
	j.worker.Crash("item-worker: hop published")
	return nil
}

// park sends what is left of a batch on while its integration is paused: as one deferral, whose time does not count.
func (j *job) park(ctx context.Context) error {
	todo := j.todo()
	if len(todo) == 0 {
		return nil
	}
	parked := &hop{delay: j.worker.Settings.Park, parkedAt: timestamppb.New(j.worker.Now()), cause: deferral.Pause}
	for _, item := range todo {
		next := proto.CloneOf(item)
		next.Hop++
		parked.items = append(parked.items, next)
	}
	j.unwritten.hops = append(j.unwritten.hops, parked)
	if err := j.write(ctx); err != nil {
		return err
	}
	return j.settle(ctx)
}

// unpaused is when the items' window began, with the time that they were parked taken out.
func unpaused(batch *eventsv1.ItemBatch, now time.Time) time.Time {
	first := batch.GetFirstAt().AsTime()
	if batch.GetParkedAt() == nil {
		return first
	}
	return first.Add(max(now.Sub(batch.GetParkedAt().AsTime()), 0))
}
