package runs

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestDecide has the rows of "What happens when" in docs/architecture.md that are about the end of a run.
func TestDecide(t *testing.T) {
	t.Parallel()
	broken := errors.New("the reducer is broken")
	moves := reduction{candidate: contracts.Cursor("30"), forward: true}
	clean := verdict{state: runstate.Succeeded, complete: true, resolved: true}
	for name, tt := range map[string]struct {
		run    postgres.Run
		ending ending
		reduction
		want verdict
	}{
		"all items are done": {
			ending: ending{total: &eventsv1.Total{Items: 2}, done: 2}, reduction: moves,
			want: verdict{state: runstate.Succeeded, complete: true, resolved: true, cursor: contracts.Cursor("30")},
		},
		"all items are done or skipped": {
			ending: ending{total: &eventsv1.Total{Items: 2}, done: 1, skipped: 1}, reduction: moves,
			want: verdict{state: runstate.Succeeded, complete: true, resolved: true, cursor: contracts.Cursor("30")},
		},
		"nothing has changed": {ending: ending{total: &eventsv1.Total{}}, want: clean},
		"the reducer returns nothing": {
			ending: ending{total: &eventsv1.Total{Items: 1}, done: 1},
			want:   clean,
		},
		"the cursor would go back, or was set meanwhile": {
			ending:    ending{total: &eventsv1.Total{Items: 1}, done: 1},
			reduction: reduction{candidate: contracts.Cursor("30")}, want: clean,
		},
		"the reducer fails, panics, hangs or ends the process, or cursors can't be compared": {
			ending:    ending{total: &eventsv1.Total{Items: 1}, done: 1},
			reduction: reduction{candidate: contracts.Cursor("30"), err: broken},
			want:      verdict{state: runstate.Failed, err: foreign.Of(broken), complete: true, reduceFailed: true},
		},
		"some items are dead": {
			ending: ending{total: &eventsv1.Total{Items: 2}, done: 1, dead: 1},
			want:   verdict{state: runstate.Partial, complete: true},
		},
		"some items are dead, and all others skipped": {
			ending: ending{total: &eventsv1.Total{Items: 2}, skipped: 1, dead: 1},
			want:   verdict{state: runstate.Partial, complete: true},
		},
		"all items are dead": {
			ending: ending{total: &eventsv1.Total{Items: 2}, dead: 2},
			want:   verdict{state: runstate.Failed, err: "every item is dead", complete: true},
		},
		"the enumeration fails": {
			ending: ending{total: &eventsv1.Total{Items: 1, Error: "no page 2"}, done: 1},
			want:   verdict{state: runstate.Failed, err: "no page 2", resolved: true},
		},
		"the enumeration fails, and items are dead": {
			ending: ending{total: &eventsv1.Total{Items: 2, Error: "no page 2"}, done: 1, dead: 1},
			want:   verdict{state: runstate.Failed, err: "no page 2"},
		},
		"a checkpoint does not count": {
			ending: ending{total: &eventsv1.Total{Items: 2, Note: "one is in the future"}, done: 2}, reduction: moves,
			want: verdict{
				state: runstate.Succeeded, err: "one is in the future", complete: true, resolved: true,
				cursor: contracts.Cursor("30"),
			},
		},
		"a checkpoint does not count, and the reducer fails": {
			ending:    ending{total: &eventsv1.Total{Items: 2, Note: "one is in the future"}, done: 2},
			reduction: reduction{err: broken},
			want:      verdict{state: runstate.Failed, err: foreign.Of(broken), complete: true, reduceFailed: true},
		},
		"the provider dispatches after Sync has returned": {
			run:    postgres.Run{Lost: "an item is lost"},
			ending: ending{total: &eventsv1.Total{Items: 2, Note: "one is in the future"}, done: 2}, reduction: moves,
			want: verdict{state: runstate.Failed, err: "an item is lost", resolved: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := decide(&tt.run, &tt.ending, tt.reduction)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(verdict{})); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReducible calls the reducer only where the cursor can move.
func TestReducible(t *testing.T) {
	t.Parallel()
	values := []value{{checkpoint: contracts.Checkpoint("1")}}
	for name, tt := range map[string]struct {
		ending
		want bool
	}{
		"all done":               {ending{total: &eventsv1.Total{}, done: 1, values: values}, true},
		"nothing":                {ending{total: &eventsv1.Total{}}, false},
		"an item is dead":        {ending{total: &eventsv1.Total{}, done: 1, dead: 1, values: values}, false},
		"the enumeration failed": {ending{total: &eventsv1.Total{Error: "no page 2"}, done: 1, values: values}, false},
	} {
		if got := tt.reducible(); got != tt.want {
			t.Errorf("%s: reducible is %t, want %t", name, got, tt.want)
		}
	}
}

// TestEnded puts each fate of a dead item's row together with what the bucket says of the item.
func TestEnded(t *testing.T) {
	t.Parallel()
	const item = `"c"`
	for name, tt := range map[string]struct {
		bucket eventsv1.OutcomeState
		status string // of its row; there is none if it is empty
		want   ending
		lost   bool
	}{
		"dead":                             {bucket: dead, status: "open", want: ending{dead: 1}},
		"dead, and retried at this moment": {bucket: dead, status: "redriving", want: ending{dead: 1}},
		"dead, and then done":              {bucket: dead, status: "resolved", want: ending{done: 1}},
		"dead, and then skipped":           {bucket: dead, status: "skipped", want: ending{skipped: 1}},
		"dead, and its row is gone":        {bucket: dead, lost: true},
		"done after it was dead": {
			bucket: done, status: "open",
			want: ending{done: 1, lateDone: []position{{0, 0}}},
		},
		"done after it was dead and skipped": {bucket: done, status: "skipped", want: ending{done: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			update := checkpoint.Update{Key: checkpoint.Key{Index: checkpoint.First}, Entry: &eventsv1.Entry{
				Size: 1, Outcomes: []*eventsv1.Outcome{{State: tt.bucket}},
			}}
			var progress checkpoint.Progress
			progress.Apply(checkpoint.Update{Total: &eventsv1.Total{Items: 1, Batches: 1}})
			progress.Apply(update)
			states := newTally()
			states.apply(update)
			var rows []*dbsqlc.DeadOfAttemptRow
			if tt.status != "" {
				text := item
				rows = append(rows, &dbsqlc.DeadOfAttemptRow{Status: tt.status, Note: "as asked", Checkpoint: &text})
			}
			var collected collector
			got, err := ended(&progress, states, &collected, rows)
			if tt.lost {
				if !errors.Is(err, errForgotten) {
					t.Fatalf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			numbers := ending{done: got.done, dead: got.dead, skipped: got.skipped, lateDone: got.lateDone}
			if diff := cmp.Diff(tt.want, numbers, cmp.AllowUnexported(ending{}, position{},
				checkpoint.Reasons{})); diff != "" {
				t.Errorf("ending (-want +got):\n%s", diff)
			}
			late := tt.bucket == dead && tt.want.dead == 0
			if kept := len(collected.values) == 1; kept != late {
				t.Errorf("the checkpoint of the row was taken: %t, want %t", kept, late)
			}
			if reasons := len(got.skips.List()); reasons != int(tt.want.skipped) {
				t.Errorf("there are %d reasons of skips, want %d", reasons, tt.want.skipped)
			}
		})
	}
}

// TestStands compares an ending with what the closing transaction reads.
func TestStands(t *testing.T) {
	t.Parallel()
	received := newTally()
	received.apply(checkpoint.Update{
		Key:   checkpoint.Key{Index: checkpoint.First},
		Entry: &eventsv1.Entry{Size: 1, Done: []byte{1}},
	})
	e := ending{total: &eventsv1.Total{Items: 3}, done: 1, dead: 1, lateDone: []position{{0, 2}}, received: received}
	row := func(status string) *dbsqlc.DeadOfAttemptRow { return &dbsqlc.DeadOfAttemptRow{Status: status} }
	receipt := postgres.Receipt{}
	receipt.Add(0)
	for name, tt := range map[string]struct {
		rows     []*dbsqlc.DeadOfAttemptRow
		receipts []postgres.Receipt
		want     error
	}{
		"as before": {
			[]*dbsqlc.DeadOfAttemptRow{row("open"), row("redriving"), row("skipped")},
			[]postgres.Receipt{receipt},
			nil,
		},
		"one was resolved since": {
			[]*dbsqlc.DeadOfAttemptRow{row("open"), row("resolved")},
			[]postgres.Receipt{receipt},
			errDeadChanged,
		},
		"one more is dead": {
			[]*dbsqlc.DeadOfAttemptRow{row("open"), row("open"), row("open")},
			[]postgres.Receipt{receipt},
			errDeadChanged,
		},
		"a receipt is lacking":      {[]*dbsqlc.DeadOfAttemptRow{row("open"), row("open")}, nil, errForgotten},
		"all of Postgres went back": {nil, nil, errDeadChanged},
	} {
		if err := e.stands(tt.rows, tt.receipts); !errors.Is(err, tt.want) {
			t.Errorf("%s: the error is %v, want %v", name, err, tt.want)
		}
	}
}

// TestPace has the next run come later with each failure in a row.
func TestPace(t *testing.T) {
	t.Parallel()
	const most = 16
	for name, tt := range map[string]struct {
		state            runstate.State
		cause            runstate.Cause
		failures, slowed int
		want             time.Duration
		moves            bool
	}{
		"clean":                                {runstate.Succeeded, runstate.Scheduled, 0, 1, time.Hour, true},
		"clean, and commanded":                 {runstate.Succeeded, runstate.Commanded, 0, 1, time.Hour, true},
		"the first failure":                    {runstate.Partial, runstate.Scheduled, 1, 1, time.Hour, true},
		"the second":                           {runstate.Failed, runstate.Scheduled, 2, 1, 2 * time.Hour, true},
		"the third":                            {runstate.Partial, runstate.Scheduled, 3, 1, 4 * time.Hour, true},
		"the fourth":                           {runstate.Partial, runstate.Scheduled, 4, 1, 8 * time.Hour, true},
		"the fifth":                            {runstate.Partial, runstate.Scheduled, 5, 1, 16 * time.Hour, true},
		"the sixth":                            {runstate.Partial, runstate.Scheduled, 6, 1, 16 * time.Hour, true},
		"the thousandth":                       {runstate.Partial, runstate.Scheduled, 1000, 1, 16 * time.Hour, true},
		"commanded, and failed":                {runstate.Failed, runstate.Commanded, 3, 1, 0, false},
		"clean, and in bad health":             {runstate.Succeeded, runstate.Scheduled, 0, 4, 4 * time.Hour, true},
		"bad health waits longer than failure": {runstate.Failed, runstate.Scheduled, 2, 4, 4 * time.Hour, true},
		"failure waits longer than bad health": {runstate.Failed, runstate.Scheduled, 5, 4, 16 * time.Hour, true},
	} {
		got, moves := pace(&postgres.Run{State: tt.state, Cause: tt.cause}, tt.failures, most, tt.slowed, time.Hour)
		if got != tt.want || moves != tt.moves {
			t.Errorf("%s: the next run is due in %s, %t; want %s, %t", name, got, moves, tt.want, tt.moves)
		}
	}
	if got, _ := pace(&postgres.Run{Cause: runstate.Scheduled}, 100, most, 1, math.MaxInt64/2); got != math.MaxInt64 {
		t.Errorf("an endless interval leads to a wait of %s", got)
	}
}
