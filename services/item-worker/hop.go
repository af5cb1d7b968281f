package itemworker

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
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
		Index: item.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_RETRYING, Hop: item.GetHop(), Reason: reasonOf(why),
		Wait: &eventsv1.Wait{
			EventType: item.GetEventType(), ExternalId: item.GetExternalId(), Tries: item.GetTries(), Until: h.due.Unix(),
		},
	}
}

// reasonOf is as much of a text as an outcome keeps.
func reasonOf(text foreign.Text) string {
	return foreign.Clean(text.String(), checkpoint.MaxReason).String()
}
