package syncer

import (
	"fmt"

	"github.com/tributaryhq/tributary/internal/panics"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// checkCheckpoint takes the checkpoint off an item if the provider says that it must not count. The caller holds the session's lock.
func (s *session) checkCheckpoint(item *eventsv1.Item) {
	if s.checker == nil || len(item.GetCheckpoint()) == 0 {
		return
	}
	err := s.judge(item.GetCheckpoint())
	if err == nil {
		return
	}
	if s.odd++; s.odd == 1 {
		s.oddity = fmt.Sprintf("%s %q: %s", item.GetEventType(), item.GetExternalId(), err)
	}
	item.Checkpoint = nil
}

func (s *session) judge(checkpoint []byte) (err error) {
	defer panics.Catch(&err, "the check of a checkpoint")
	return s.checker.CheckCheckpoint(checkpoint, s.last)
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
