package contracts

import "time"

// CursorAdvancer is implemented by providers whose cursors need a rule of their own for what is forward. Without it a
// candidate is forward when ReduceCheckpoints of the current cursor and the candidate equals the candidate, compared as
// JSON values.
type CursorAdvancer interface {
	CursorAdvances(current, candidate Cursor) bool
}

// CursorDater is implemented by providers whose cursors can be made of a time. A gap, such as webhooks that never came,
// is closed by an incremental sync from before it; the cursor itself stays where it is. [MaxTime] implements it.
type CursorDater interface {
	// CursorAt is the cursor from which a sync enumerates everything that changed since t.
	CursorAt(t time.Time) (Cursor, error)
}

// CheckpointChecker is implemented by providers that can tell a checkpoint which must never become the cursor, such as
// a date in the distant future. The item is handled as if it had no checkpoint, and the run and an incident tell of it.
// [MaxTime] implements it.
type CheckpointChecker interface {
	// CheckCheckpoint returns an error that quotes the checkpoint if it must not count. It is asked for every item that
	// is dispatched; now is the present.
	CheckCheckpoint(c Checkpoint, now time.Time) error
}

// AssociativeReducer marks a ReduceCheckpoints that may be applied to parts of a run and then to the results, in any
// order and grouping, with a repeated value changing nothing. The runtime then folds batch by batch, which keeps memory
// flat for runs of any size. [MaxTime], [MaxString] and [MaxNumber] are associative.
type AssociativeReducer interface {
	ReducesAssociatively()
}

// CheckpointOrderer is implemented by providers whose checkpoints order the versions of one record. The key of a newer
// checkpoint compares greater, byte by byte. The built-in sink uses it to refuse to overwrite a record with an older
// version of it; without it, the last write wins. [MaxTime], [MaxString] and [MaxNumber] implement it.
type CheckpointOrderer interface {
	CheckpointKey(c Checkpoint) (string, error)
}
