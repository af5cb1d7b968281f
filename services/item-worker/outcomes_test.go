package itemworker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// obey does what the payload says.
func obey(_ context.Context, _ *contracts.Integration, payload []byte) error {
	switch string(payload) {
	case "fail":
		return errors.New("no")
	case "panic":
		panic("at the item")
	case "permanent":
		return contracts.Permanent(errors.New("never"))
	case "defer for an hour":
		return contracts.RetryAfter(time.Hour, errors.New("later"))
	case "fail, and leak":
		return errors.New("refused with " + token)
	case "leak":
		return contracts.Permanent(fmt.Errorf("the upstream refused %s", token))
	case "skip":
		return contracts.Skip("of no use")
	case "skip, and leak":
		return contracts.Skip("refused with " + token)
	case "skip, and say much":
		return contracts.Skip(strings.Repeat("x", 5000))
	case "defer":
		return contracts.RetryAfter(90*time.Second, errors.New("later"))
	}
	return nil
}

func asIs(*platform.Config) {}

// died is a dead item as its row shows it.
type died struct {
	Reason, Error, Status string
	Tries                 int32
}

// dead reads the dead items of a run by index.
func (w *world) dead(t *testing.T, batch *eventsv1.ItemBatch) map[int32]died {
	t.Helper()
	rows, err := w.pool.Query(t.Context(), "select item_index, reason, error, status, tries from dead_items where "+
		"run_id = $1", batch.GetRunId())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[int32]died{}
	for rows.Next() {
		var index int32
		var d died
		if err := rows.Scan(&index, &d.Reason, &d.Error, &d.Status, &d.Tries); err != nil {
			t.Fatal(err)
		}
		all[index] = d
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// events counts the events of a name that wait in the outbox for an integration. No scheduler runs here that would
// publish them.
func (w *world) events(t *testing.T, batch *eventsv1.ItemBatch, name events.Name) (n int) {
	t.Helper()
	w.scan(t, "select count(*) from outbox where subject = $1",
		events.EventSubject(name, "shop", batch.GetIntegrationId()), &n)
	return n
}

// patientBackoff brings nothing again within a test.
func patientBackoff(c *platform.Config) {
	c.ItemWorker.Backoff = []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute, 40 * time.Minute}
}

// TestWhatItemsComeTo has one item for each thing that a handler can return: its outcome, its receipt, its dead row and
// the message that brings it again.
func TestWhatItemsComeTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, patientBackoff)
	w.start(t)
	batch := with(w.open(t, 3), "done", "fail", "permanent", "skip", "defer", "leak", "fail", "fail", "panic")
	batch.Items[6].Tries, batch.Items[7].Tries = 4, 3
	began := time.Now()
	w.send(t, batch)
	w.awaitAck(t, batch)

	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{
		0: done, 1: retrying, 2: dead, 3: skipped, 4: retrying, 5: dead, 6: dead, 7: retrying, 8: retrying,
	})
	w.wantReceipts(t, batch, 0, 3)
	if entry := w.entry(t, batch); !entry.GetReceipts() || entry.GetSize() != 9 || len(entry.GetFolded()) != 1 ||
		string(entry.GetFolded()[0]) != "0" {
		t.Errorf("the entry has size %d, receipts %v and the folded checkpoints %q", entry.GetSize(),
			entry.GetReceipts(), entry.GetFolded())
	}
	if diff := cmp.Diff(map[int32]died{
		2: {Reason: "permanent", Error: "never", Status: "open"},
		5: {Reason: "permanent", Error: "the upstream refused [REDACTED]", Status: "open"},
		6: {Reason: "tries used up", Error: "no", Status: "open", Tries: 5},
	}, w.dead(t, batch)); diff != "" {
		t.Error(diff)
	}
	if n := w.events(t, batch, events.ItemFailed); n != 3 {
		t.Errorf("%d events tell of three dead items", n)
	}

	retries := w.retries(t, batch)
	wantRetry(t, retries[1], began, 10*time.Minute, 1, 0, 1, 8)
	wantRetry(t, retries[4], began, 90*time.Second, 0, 1, 4)
	wantRetry(t, retries[7], began, 40*time.Minute, 4, 0, 7)
	if len(retries) != 3 {
		t.Errorf("%d messages bring items again, want 3", len(retries))
	}
}

// wantRetry compares a message that brings items again: after a wait that is spread by a fifth, as their next hop and
// in the shared lane.
func wantRetry(t *testing.T, r retry, since time.Time, wait time.Duration, tries, deferrals int32, indexes ...int32) {
	t.Helper()
	if r.ItemBatch == nil {
		t.Errorf("no message brings the items %v again", indexes)
		return
	}
	var got []int32
	for _, item := range r.GetItems() {
		got = append(got, item.GetIndex())
		if item.GetTries() != tries || item.GetDeferrals() != deferrals || item.GetHop() != 1 {
			t.Errorf("item %d comes again after %d tries and %d deferrals as hop %d", item.GetIndex(), item.GetTries(),
				item.GetDeferrals(), item.GetHop())
		}
	}
	if diff := cmp.Diff(indexes, got); diff != "" {
		t.Errorf("items that come again: %s", diff)
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(r.header.Get("Nats-Schedule"), "@at "))
	least, most := since.Add(wait*8/10-time.Second), time.Now().Add(wait*12/10+time.Second)
	if err != nil || at.Before(least) || at.After(most) {
		t.Errorf("items %v come again at %s (%v), want between %s and %s", indexes, at, err, least, most)
	}
	if target, err := wire.ParseItemsSubject(r.header.Get("Nats-Schedule-Target")); err != nil ||
		target.Lane != wire.Shared {
		t.Errorf("items %v come again in the lane %q, %v", indexes, target.Lane, err)
	}
}

// TestWindowOfItems has items fail whose window is over, but for the time that they were parked.
func TestWindowOfItems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, patientBackoff)
	w.start(t)
	late, parked := with(w.open(t, 1), "fail"), with(w.open(t, 1), "fail")
	hoursAgo := func(n time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(-n * time.Hour)) }
	late.FirstAt = hoursAgo(7)
	parked.FirstAt, parked.ParkedAt = hoursAgo(7), hoursAgo(2)
	for _, batch := range []*eventsv1.ItemBatch{late, parked} {
		w.send(t, batch)
		w.awaitAck(t, batch)
	}
	if got := w.dead(t, late)[0]; got.Reason != "waited too long" {
		t.Errorf("the item that has waited for seven hours: %+v", got)
	}
	if got := w.dead(t, parked); len(got) > 0 {
		t.Errorf("the item that was parked for two of seven hours: %+v", got)
	}
	wantRetry(t, w.retries(t, parked)[0], time.Now().Add(-time.Minute), 10*time.Minute, 1, 0, 0)
}

// TestItemsOfAPausedIntegrationArePutAside takes no try from them, and notes since when they wait.
func TestItemsOfAPausedIntegrationArePutAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	batch := with(w.open(t, 1), "done", "fail")
	w.exec(t, "update integrations set status = 'paused' where id = $1", batch.GetIntegrationId())
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	if w.called("done")+w.called("fail") > 0 {
		t.Error("an item of a paused integration was handled")
	}
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: retrying, 1: retrying})
	if got := checkpoint.Find(w.entry(t, batch), 1); got.GetReason() != "the integration is paused" ||
		got.GetWait().GetUntil() == 0 {
		t.Errorf("the outcome of what is put aside: %v", got)
	}
	aside := w.retries(t, batch)[0]
	if aside.ItemBatch == nil || aside.GetParkedAt() == nil || len(aside.GetItems()) != 2 ||
		aside.GetItems()[1].GetTries() != 0 {
		t.Errorf("put aside: %v", aside.ItemBatch)
	}
}

// TestItemsThatAreSeenToDoNotRunAgain delivers a batch of which one item is done, one is dead and one was sent on.
func TestItemsThatAreSeenToDoNotRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	batch := with(w.open(t, 1), "done", "gone", "sent on", "new")
	_, err := w.Checkpoints.Merge(t.Context(), firstKey(batch), &eventsv1.Entry{Size: 4, Outcomes: []*eventsv1.Outcome{
		{Index: 0, State: done}, {Index: 1, State: dead}, {Index: 2, State: retrying, Hop: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	for payload, want := range map[string]int{"done": 0, "gone": 0, "sent on": 0, "new": 1} {
		if n := w.called(payload); n != want {
			t.Errorf("the handler was called %d times for the item %q, want %d", n, payload, want)
		}
	}
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done, 1: dead, 2: retrying, 3: done})
}

// TestWhyItemsAreSkipped is kept with their outcomes: without secrets, and not at any length.
func TestWhyItemsAreSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	w.start(t)
	batch := with(w.open(t, 1), "skip", "done", "skip, and leak", "skip, and say much")
	w.send(t, batch)
	w.awaitAck(t, batch)
	entry := w.entry(t, batch)
	for index, want := range []string{"of no use", "", "refused with [REDACTED]"} {
		if got := checkpoint.Find(entry, int32(index)).GetReason(); got != want {
			t.Errorf("the reason of item %d is %q, want %q", index, got, want)
		}
	}
	if got := checkpoint.Find(entry, 3).GetReason(); len(got) > checkpoint.MaxReason || !strings.HasPrefix(got, "xxx") {
		t.Errorf("the long reason is kept as %q", got)
	}
}

// TestWhyItemsWait is kept with their outcomes: what failed, without secrets, how often, and when the broker brings
// them again.
func TestWhyItemsWait(t *testing.T) {
	t.Parallel()
	// Nothing is due before the test is over.
	w := newWorld(t, obey, func(c *platform.Config) { c.ItemWorker.Backoff = []time.Duration{time.Hour} })
	w.start(t)
	batch := with(w.open(t, 1), "fail", "defer for an hour", "fail, and leak")
	batch.Items[2].Tries = 2
	w.send(t, batch)
	w.awaitAck(t, batch)
	entry, retries := w.entry(t, batch), w.retries(t, batch)
	for index, want := range []struct {
		why   string
		tries int32
	}{{"no", 1}, {"later", 0}, {"refused with [REDACTED]", 3}} {
		got := checkpoint.Find(entry, int32(index))
		due, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(retries[int32(index)].header.Get("Nats-Schedule"),
			"@at "))
		if err != nil {
			t.Fatal(err)
		}
		wait := &eventsv1.Wait{
			EventType: event, ExternalId: fmt.Sprint("x", index), Tries: want.tries,
			Until: due.Unix(),
		}
		if diff := cmp.Diff(wait, got.GetWait(), protocmp.Transform()); diff != "" ||
			!strings.Contains(got.GetReason(), want.why) || strings.Contains(got.GetReason(), token) {
			t.Errorf("item %d waits because of %q (-want +got):\n%s", index, got.GetReason(), diff)
		}
	}
}
