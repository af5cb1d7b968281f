package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Item is what a provider dispatched.
type Item struct {
	Event      string
	ExternalID string
	Checkpoint string
	// Payload is the event as JSON.
	Payload string
}

// Session is a [contracts.SyncSession] that records what is dispatched. Like the runtime it drops an exact second copy, encodes events and
// checkpoints, and refuses to go on when the context is done. The zero value is a session without a cursor.
type Session struct {
	// From is the cursor that the session starts from.
	From contracts.Cursor
	// OnDispatch, when set, is asked about each item before anything else; its error is Dispatch's.
	OnDispatch func(Item) error

	// onItem, when set, numbers the items by the requests made so far.
	onItem func() int

	mu     sync.Mutex
	items  []Item
	asked  []int
	ended  bool
	late   int
	events []any
	known  map[Item]bool
	// second is the latest checkpoint that is a time with a fraction of a second.
	second     time.Time
	duplicates int
}

// Cursor is From.
func (s *Session) Cursor() (contracts.Cursor, bool) { return s.From, len(s.From) > 0 }

// Dispatch records an item. An event that can't be encoded is an error here, where the runtime would make a dead item of it.
func (s *Session) Dispatch(ctx context.Context, event, checkpoint any, externalID string) error {
	encoded, err := contracts.NewCheckpoint(checkpoint)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("event of %s %q can't be encoded: %w", contracts.EventType(event), externalID, err)
	}
	item := Item{Event: contracts.EventType(event), ExternalID: externalID, Checkpoint: string(encoded), Payload: string(payload)}
	if s.OnDispatch != nil {
		if err := s.OnDispatch(item); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	asked := 0
	if s.onItem != nil {
		asked = s.onItem()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		s.late++
		return errEnded
	}
	if s.known[item] {
		s.duplicates++
		return nil
	}
	if s.known == nil {
		s.known = map[Item]bool{}
	}
	s.known[item] = true
	if at, ok := checkpoint.(time.Time); ok && at.Nanosecond() > 0 {
		s.second = at
	}
	s.items = append(s.items, item)
	s.asked = append(s.asked, asked)
	s.events = append(s.events, event)
	return nil
}

var errEnded = errors.New("dispatch: the sync has returned")

// end refuses every later item: the runtime counts what was dispatched when the sync returns.
func (s *Session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// Items are those dispatched so far, in their order.
func (s *Session) Items() []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.items)
}

// Events are the dispatched Go values, in the order of [Session.Items].
func (s *Session) Events() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Duplicates counts the exact copies that were dropped.
func (s *Session) Duplicates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.duplicates
}

// fraction is a checkpoint that was a time with a fraction of a second, and false when there was none.
func (s *Session) fraction() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.second, !s.second.IsZero()
}

// IDs are the external ids of the items of one event type, in their order; of all when the type is empty.
func (s *Session) IDs(event string) []string {
	var ids []string
	for _, item := range s.Items() {
		if event == "" || item.Event == event {
			ids = append(ids, item.ExternalID)
		}
	}
	return ids
}

// Checkpoints are those of all items, as a reducer is given them when every item is done.
func (s *Session) Checkpoints() []contracts.Checkpoint {
	var all []contracts.Checkpoint
	for _, item := range s.Items() {
		all = append(all, contracts.Checkpoint(item.Checkpoint))
	}
	return all
}
