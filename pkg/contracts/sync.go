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
