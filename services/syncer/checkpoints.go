package syncer

import (
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/items"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// checkCheckpoint takes the checkpoint off an item if the provider says that it must not count. It is called without
// the session's lock: a check that does not return is the provider's silence, and holds nothing else up.
func (s *session) checkCheckpoint(item *eventsv1.Item) error {
	if s.checker == nil {
		return nil
	}
	return items.DropOddCheckpoint(s.checker, item, time.Unix(0, s.looked.Load()))
}

// noteOdd counts a checkpoint that does not count. The caller holds the session's lock.
func (s *session) noteOdd(item *eventsv1.Item, err error) {
	if err == nil {
		return
	}
	if s.odd++; s.odd == 1 {
		s.oddity = fmt.Sprintf("%s %q: %s", item.GetEventType(), item.GetExternalId(), err)
	}
}

// note says which checkpoints do not count; nothing if all do.
func (s *session) note() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.odd == 0 {
		return ""
	}
	return fmt.Sprintf("the checkpoints of %d items do not count towards the cursor, the first of %s", s.odd, s.oddity)
}
