package contracts

import (
	"context"
	"time"
)

// MaxSyncInterval is the longest time between two syncs.
const MaxSyncInterval = 365 * 24 * time.Hour

// ScheduledSync is implemented by providers that can be synced on a schedule. It needs a [Provider] beside it.
type ScheduledSync interface {
	// Sync enumerates everything the upstream has and hands each record to session.Dispatch. It processes nothing,
	// returns no result and never touches the cursor.
	//
	// It returns nil only when the enumeration is complete. [RetryAfter] puts the run to waiting without spending an
	// attempt, [Permanent] ends it at once, and any other error is tried again after a back-off, up to 5 attempts. When
	// ctx is done it returns promptly with ctx.Err().
	Sync(ctx context.Context, in *Integration, session SyncSession) error
	// DefaultSyncInterval is the time between two syncs of an integration that has no interval of its own: whole
	// minutes, at least one, and [MaxSyncInterval] at most.
	DefaultSyncInterval() time.Duration
	// DefaultRateLimit is the request budget of one integration; nil means unlimited. A provider that implements
	// [RateLimiter] is asked there instead.
	DefaultRateLimit() *RateLimit
	// ReduceCheckpoints turns the checkpoints of a run's completed items into the next cursor, from the values of all
	// done and skipped items in enumeration order; an item without a checkpoint stands as nil. A nil cursor leaves the
	// current one in place. It has no effects and gives the same result for the same values: it may be called again for
	// one run, also by several processes at once, and only one of its results counts. [MaxTime], [MaxString] and
	// [MaxNumber] implement it for the common cases.
	ReduceCheckpoints(checkpoints []Checkpoint) (Cursor, error)
}

// IncrementalSync is a [ScheduledSync] that can enumerate only what changed since the cursor. Tributary prefers
// SyncIncremental to Sync, unless a full sync is asked for.
type IncrementalSync interface {
	ScheduledSync
	// SyncIncremental is Sync limited to what changed since session.Cursor(); on the first run there is no cursor.
	SyncIncremental(ctx context.Context, in *Integration, session SyncSession) error
}

// SyncSession is one enumeration under way, handed to Sync and SyncIncremental. It is safe for concurrent use.
type SyncSession interface {
	// Cursor is the cursor this run starts from, byte for byte as stored, and false when there is none: on an
	// integration's first run, and always in a full sync.
	Cursor() (Cursor, bool)
	// Dispatch hands one item over and returns as soon as it is accepted; it blocks while the broker or the workers
	// push back.
	//
	// The event is the record as a Go value that encodes to JSON; its type picks the handlers (see [EventType]). The
	// checkpoint is what the cursor may become once the item is done: nil, a [Checkpoint], or any value that encodes to
	// JSON, 16 KiB at most. The external id names the record at the upstream and may be empty. An exact second copy
	// within one enumeration is dropped and counted.
	//
	// An event that can't be encoded, or is larger than a message may be, becomes a dead item with that reason, and
	// Dispatch returns nil. The errors it does return mean that the enumeration must stop: ctx is done, the run was
	// cancelled or superseded, or the checkpoint is larger than allowed ([ErrCheckpointTooLarge]). Return them as they
	// are: an item that was refused is lost, and a Sync that returns nil all the same has failed. So has one that
	// leaves goroutines behind which dispatch after it has returned.
	Dispatch(ctx context.Context, event any, checkpoint any, externalID string) error
}

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
