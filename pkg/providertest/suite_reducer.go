package providertest

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// reducer checks that the reducer agrees with itself about the checkpoints of a sync.
func (k *kit) reducer(t *testing.T, provider contracts.ScheduledSync, of *Session) {
	for name, none := range map[string][]contracts.Checkpoint{"no checkpoints": nil, "an item without a checkpoint": {nil}} {
		err := k.guarded(t, "ReduceCheckpoints", func() error {
			cursor, err := provider.ReduceCheckpoints(none)
			if len(cursor) > 0 && string(cursor) != "null" {
				t.Errorf("ReduceCheckpoints of %s makes the cursor %s of nothing", name, cursor)
			}
			return err
		})
		if err != nil {
			t.Errorf("ReduceCheckpoints of %s: %v", name, err)
		}
	}
	checkpoints := of.Checkpoints()
	unchanged(t, provider, checkpoints)
	k.timed(t, provider, of)
	cursor := reduce(t, provider, checkpoints)
	if len(cursor) == 0 {
		if _, ok := provider.(contracts.IncrementalSync); ok {
			t.Error("the checkpoints of the fixture reduce to no cursor: every sync would enumerate everything")
		}
		return
	}
	again := reduce(t, provider, []contracts.Checkpoint{contracts.Checkpoint(cursor)})
	if forward, err := contracts.Advances(provider, cursor, again); err != nil || forward || len(again) == 0 {
		t.Errorf("the cursor %s reduced alone is %s: it should stay where it is (%v)", cursor, orNone(string(again)), err)
	}
	if _, ok := provider.(contracts.AssociativeReducer); ok {
		k.associative(t, provider, checkpoints, cursor)
	}
	k.ordered(t, provider, of.Items(), cursor)
}

// associative checks that neither order nor grouping of the checkpoints changes the cursor.
func (k *kit) associative(t *testing.T, provider contracts.ScheduledSync, checkpoints []contracts.Checkpoint, want contracts.Cursor) {
	backwards := slices.Clone(checkpoints)
	slices.Reverse(backwards)
	if got := reduce(t, provider, backwards); !bytes.Equal(got, want) {
		t.Errorf("the reducer says it is associative, but in reverse order the cursor is %s, not %s", orNone(string(got)), want)
	}
	for _, at := range []int{1, len(checkpoints) / 3, len(checkpoints) - 1} {
		if at <= 0 || at >= len(checkpoints) {
			continue
		}
		left, right := reduce(t, provider, checkpoints[:at]), reduce(t, provider, checkpoints[at:])
		if got := reduce(t, provider, []contracts.Checkpoint{contracts.Checkpoint(right), contracts.Checkpoint(left)}); !bytes.Equal(got, want) {
			t.Errorf("the reducer says it is associative, but in two parts the cursor is %s, not %s", orNone(string(got)), want)
		}
	}
}

// ordered checks that keys, and the rule for what is forward, go the way of the cursor.
func (k *kit) ordered(t *testing.T, provider contracts.ScheduledSync, items []Item, cursor contracts.Cursor) {
	orderer, orders := provider.(contracts.CheckpointOrderer)
	_, associative := provider.(contracts.AssociativeReducer)
	top := ""
	if orders {
		var err error
		if top, err = orderer.CheckpointKey(contracts.Checkpoint(cursor)); err != nil {
			t.Errorf("CheckpointKey of the cursor %s: %v", cursor, err)
		}
	}
	for _, item := range items {
		if item.Checkpoint == "" || item.Checkpoint == string(cursor) {
			continue
		}
		if orders {
			key, err := orderer.CheckpointKey(contracts.Checkpoint(item.Checkpoint))
			if err != nil {
				t.Errorf("CheckpointKey of item %s: %v", item.ExternalID, err)
				return
			}
			if associative && key > top {
				t.Errorf("the key of the checkpoint %s is greater than that of the cursor %s: an older version would overwrite a newer one", item.Checkpoint, cursor)
				return
			}
		}
		alone := reduce(t, provider, []contracts.Checkpoint{contracts.Checkpoint(item.Checkpoint)})
		if back, err := contracts.Advances(provider, cursor, alone); err != nil || back {
			t.Errorf("the cursor would go back from %s to %s (%v)", cursor, orNone(string(alone)), err)
			return
		}
	}
}

// unchanged checks that the reducer leaves its argument as it is. It is given in reverse order, so that a reducer that sorts is seen.
func unchanged(t *testing.T, provider contracts.ScheduledSync, checkpoints []contracts.Checkpoint) {
	t.Helper()
	given := make([]contracts.Checkpoint, 0, len(checkpoints))
	for _, checkpoint := range slices.Backward(checkpoints) {
		given = append(given, bytes.Clone(checkpoint))
	}
	slices.Reverse(checkpoints)
	defer slices.Reverse(checkpoints)
	if _, err := provider.ReduceCheckpoints(given); err != nil {
		t.Errorf("ReduceCheckpoints of the checkpoints of a sync in reverse order: %v", err)
	}
	same := func(a, b contracts.Checkpoint) bool { return bytes.Equal(a, b) }
	if !slices.EqualFunc(given, checkpoints, same) {
		t.Error("ReduceCheckpoints changes or sorts its argument, which several processes may use at once: sort a copy, as slices.Clone makes it")
	}
}

// timed checks that times are compared as times: the text of 05.25Z comes before that of 05Z. Checkpoints that are fixed-width texts of the author's own are left alone.
func (k *kit) timed(t *testing.T, provider contracts.ScheduledSync, of *Session) {
	t.Helper()
	at, ok := of.fraction()
	if !ok {
		return
	}
	whole := at.Truncate(time.Second)
	var pair []contracts.Checkpoint
	for _, at := range []time.Time{whole, whole.Add(250 * time.Millisecond)} {
		checkpoint, err := contracts.NewCheckpoint(at)
		if err != nil {
			t.Fatal(err)
		}
		pair = append(pair, checkpoint)
	}
	cursor := reduce(t, provider, pair)
	if got, err := cursor.Time(); err == nil && got.Equal(whole) {
		t.Errorf("of the checkpoints %s and %s the reducer takes the first, which is earlier: does it compare times as texts? Embed contracts.MaxTime", pair[0], pair[1])
	}
}
