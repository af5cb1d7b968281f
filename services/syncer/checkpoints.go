package syncer

import (
	"fmt"

	"github.com/tributaryhq/tributary/internal/items"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// checkCheckpoint takes the checkpoint off an item if the provider says that it must not count. The caller holds the session's lock.
func (s *session) checkCheckpoint(item *eventsv1.Item) {
	err := items.DropOddCheckpoint(s.checker, item, s.last)
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
