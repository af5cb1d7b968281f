package webhookwork

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// maxDispatched and maxDispatchedBytes are what one delivery may dispatch: it is in memory until it is done.
const (
	maxDispatched      = 10_000
	maxDispatchedBytes = 16 << 20
)

// session takes what a handler dispatches.
type session struct {
	guard items.Guard
	mu    sync.Mutex
	items []*eventsv1.Item
	size  int
}

func (s *session) Dispatch(ctx context.Context, event, checkpoint any, externalID string) error {
	maker := &items.Maker{}
	item, unfit, err := maker.Make(event, checkpoint, externalID)
	if err == nil {
		err = s.take(ctx, event, item, unfit)
	}
	if err != nil {
		return s.guard.Refuse(err)
	}
	return nil
}

// take keeps an item that was dispatched.
func (s *session) take(ctx context.Context, event any, item *eventsv1.Item, unfit error) error {
	if unfit != nil {
		return contracts.Permanent(fmt.Errorf("dispatch %s: %w", contracts.EventType(event), unfit))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.guard.Ended(), ctx.Err()); err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	s.size += len(item.GetPayload()) + len(item.GetCheckpoint()) + len(item.GetExternalId())
	if len(s.items) >= maxDispatched || s.size > maxDispatchedBytes {
		return contracts.Permanent(fmt.Errorf("dispatch: a webhook may dispatch %d records of %d bytes in all",
			maxDispatched, maxDispatchedBytes))
	}
	s.items = append(s.items, item)
	return nil
}

func (s *session) close() []*eventsv1.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard.End()
	return s.items
}
