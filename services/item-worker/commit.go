package itemworker

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// spread is how far retries are spread around their time: a burst that is due at one instant delays everybody.
const spread = 0.2

// commit makes results last: first their effects, then the entry. It returns [errRefused] when the run wants nothing of them any more.
func (j *job) commit(ctx context.Context, results []result) error {
	if len(results) == 0 {
		return nil
	}
	if j.redrive != nil {
		return j.commitRedrive(ctx, results[0])
	}
	news := j.newEntry()
	var dead []deaditems.Dead
	var again []result
	for _, r := range j.fold(news, results) {
		outcome := &eventsv1.Outcome{Index: r.item.GetIndex(), State: r.state}
		switch r.state {
		case eventsv1.OutcomeState_OUTCOME_STATE_DONE, eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED:
			outcome.Checkpoint = r.item.GetCheckpoint()
		case eventsv1.OutcomeState_OUTCOME_STATE_RETRYING:
			outcome.Hop = r.item.GetHop() + 1
			again = append(again, r)
		case eventsv1.OutcomeState_OUTCOME_STATE_DEAD:
			if r.failed {
				r.item.Tries++
			}
			dead = append(dead, deaditems.Dead{Item: r.item, Reason: r.reason, Error: r.errorText()})
		default: // no result is in another state
		}
		news.Outcomes = append(news.Outcomes, outcome)
	}
	j.worker.Metrics.outcomesOf(j.batch.GetProvider(), results)
	if err := j.sendOn(ctx, again); err != nil {
		return err
	}
	if err := j.bury(ctx, dead); err != nil {
		return err
	}
	j.worker.Crash("item-worker: before entry")
	if err := j.cell.Merge(ctx, news); err != nil {
		return err
	}
	j.worker.Crash("item-worker: entry written")
	return nil
}

// sendOn publishes items again, to run later: those with the same delay and number of tries as one message.
func (j *job) sendOn(ctx context.Context, again []result) error {
	type group struct {
		delay time.Duration
		tries int32
	}
	groups := map[group][]*eventsv1.Item{}
	for _, r := range again {
		next := &eventsv1.Item{
			Index: r.item.GetIndex(), EventType: r.item.GetEventType(), ExternalId: r.item.GetExternalId(), Payload: r.item.GetPayload(),
			Checkpoint: r.item.GetCheckpoint(), Tries: r.item.GetTries(), Hop: r.item.GetHop() + 1,
			Deferrals: r.item.GetDeferrals() + 1,
		}
		if r.failed {
			next.Tries++
			next.Deferrals = 0
			j.worker.Log.Info("item failed, to be tried again", "run", j.batch.GetRunId(), "event", next.GetEventType(),
				"external_id", next.GetExternalId(), "tries", next.GetTries(), "delay", r.delay, "error", r.err)
		}
		key := group{delay: r.delay.Round(time.Second), tries: next.GetTries()}
		groups[key] = append(groups[key], next)
	}
	for key, items := range groups {
		delay := time.Duration(float64(key.delay) * (1 - spread + 2*spread*rand.Float64()))
		if key.delay == 0 {
			delay = time.Second
		}
		if err := j.hop(ctx, items, delay, j.batch.GetFirstAt(), nil); err != nil {
			return err
		}
	}
	return nil
}

// hop publishes items of the batch as one delayed message. Its subject and its id tell the items apart from those of any other message with the same
// first item, for after a crash the same batch may fall into other groups.
func (j *job) hop(ctx context.Context, items []*eventsv1.Item, delay time.Duration, firstAt, parkedAt *timestamppb.Timestamp) error {
	slices.SortFunc(items, func(a, b *eventsv1.Item) int { return cmp.Compare(a.GetIndex(), b.GetIndex()) })
	members := fnv.New64a()
	for _, item := range items {
		_, _ = fmt.Fprintf(members, "%d,", item.GetIndex())
	}
	address := events.ItemAddress{
		Lane: events.Shared, Provider: j.batch.GetProvider(), Integration: j.batch.GetIntegrationId(), Run: j.batch.GetRunId(),
		Attempt: j.batch.GetAttempt(), Batch: j.batch.GetBatch(), Index: items[0].GetIndex(), Hop: items[0].GetHop(), Members: members.Sum64(),
	}
	id := fmt.Sprintf("%s/%d/%d/%d/%d/%x", address.Run, address.Attempt, address.Batch, address.Index, address.Hop, address.Members)
	m, err := events.NewWork(events.RetrySubject(address), id, &eventsv1.ItemBatch{
		RunId: j.batch.GetRunId(), Attempt: j.batch.GetAttempt(), Batch: j.batch.GetBatch(), IntegrationId: j.batch.GetIntegrationId(),
		Provider: j.batch.GetProvider(), Items: items, FirstAt: firstAt, ParkedAt: parkedAt, DeadItemId: j.batch.GetDeadItemId(),
	})
	if err != nil {
		return err
	}
	if err := j.worker.Bus.PublishAt(ctx, m, events.ItemsSubject(address), j.worker.Now().Add(delay)); err != nil {
		return err
	}
	j.worker.Crash("item-worker: hop published")
	return nil
}

func (j *job) bury(ctx context.Context, dead []deaditems.Dead) error {
	if len(dead) == 0 {
		return nil
	}
	accepted, err := deaditems.Insert(ctx, j.worker.Store, j.worker.Now(), j.batch, dead)
	if err != nil {
		return err
	}
	if !accepted {
		return errRefused
	}
	for _, d := range dead {
		j.worker.Log.Warn("item is dead", "run", j.batch.GetRunId(), "event", d.Item.GetEventType(), "external_id", d.Item.GetExternalId(),
			"reason", d.Reason, "tries", d.Item.GetTries(), "error", d.Error)
	}
	j.worker.Crash("item-worker: dead items stored")
	return nil
}

// park puts what is left of a batch aside while its integration is paused: as one deferral, whose time does not count.
func (j *job) park(ctx context.Context) error {
	now := timestamppb.New(j.worker.Now())
	todo := j.todo()
	if len(todo) == 0 {
		return nil
	}
	entry := j.newEntry()
	parked := make([]*eventsv1.Item, 0, len(todo))
	for _, item := range todo {
		item.Hop++
		parked = append(parked, item)
		entry.Outcomes = append(entry.Outcomes, &eventsv1.Outcome{
			Index: item.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_RETRYING, Hop: item.GetHop(),
		})
	}
	if err := j.hop(ctx, parked, j.worker.Settings.Park, j.batch.GetFirstAt(), now); err != nil {
		return err
	}
	if j.redrive != nil {
		return j.noteHop(ctx, parked[0])
	}
	return j.cell.Merge(ctx, entry)
}

// unpaused is when the items' window began, with the time that they were parked taken out.
func unpaused(batch *eventsv1.ItemBatch, now time.Time) time.Time {
	first := batch.GetFirstAt().AsTime()
	if batch.GetParkedAt() == nil {
		return first
	}
	return first.Add(max(now.Sub(batch.GetParkedAt().AsTime()), 0))
}

// commitRedrive writes what became of a dead item that was given another go.
func (j *job) commitRedrive(ctx context.Context, r result) error {
	now := j.worker.Now()
	j.worker.Metrics.outcomesOf(j.batch.GetProvider(), []result{r})
	switch r.state {
	case eventsv1.OutcomeState_OUTCOME_STATE_RETRYING:
		if err := j.sendOn(ctx, []result{r}); err != nil {
			return err
		}
		return j.noteHop(ctx, &eventsv1.Item{Hop: r.item.GetHop() + 1})
	case eventsv1.OutcomeState_OUTCOME_STATE_DEAD:
		tries := r.item.GetTries()
		if r.failed {
			tries++
		}
		_, err := j.worker.Store.DeadReopen(ctx, dbsqlc.DeadReopenParams{
			ID: *j.redrive, Reason: r.reason, Error: deaditems.Cut(r.errorText()), Tries: tries, Now: now,
		})
		return err
	default:
		status, note := "resolved", ""
		if r.state == eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED {
			status, note = "skipped", r.reason
		}
		_, err := j.worker.Store.DeadResolve(ctx, dbsqlc.DeadResolveParams{
			ID: *j.redrive, Status: status, ResolvedBy: "retry", Note: note, FromStatuses: []string{"redriving"}, Now: now,
		})
		j.worker.Crash("item-worker: dead item resolved")
		return err
	}
}

func (j *job) noteHop(ctx context.Context, next *eventsv1.Item) error {
	_, err := j.worker.Store.DeadHop(ctx, dbsqlc.DeadHopParams{ID: *j.redrive, Hop: next.GetHop() - 1, NextHop: next.GetHop(), Now: j.worker.Now()})
	return err
}
