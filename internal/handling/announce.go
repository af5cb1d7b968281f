package handling

import (
	"context"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// The kinds of handlers, as the table handled_types spells them.
const (
	kindItem    = "item"
	kindWebhook = "webhook"
)

// AnnounceInterval is how often a worker says that it still has its handlers. Rows that any worker announced within
// most of it are not written again.
const AnnounceInterval = time.Minute

// Announcement is what a worker has handlers for.
type Announcement struct {
	params dbsqlc.HandledTypeAnnounceParams
}

// Announcement has the application's handlers, which are for items of every provider.
func (h *Handlers) Announcement(providers []string) *Announcement {
	a := &Announcement{}
	for _, provider := range providers {
		for eventType, handlers := range h.Items {
			if len(handlers) > 0 {
				a.add(provider, kindItem, eventType)
			}
		}
	}
	return a
}

// AddWebhooks adds the types of webhooks that a provider has handlers for.
func (a *Announcement) AddWebhooks(provider string, eventTypes []string) {
	for _, eventType := range eventTypes {
		a.add(provider, kindWebhook, eventType)
	}
}

func (a *Announcement) add(provider, kind, eventType string) {
	if foreign.Word(eventType).String() != eventType {
		return // nothing of such a type can be stored
	}
	p := &a.params
	p.Providers, p.Kinds, p.EventTypes = append(p.Providers, provider), append(p.Kinds, kind),
		append(p.EventTypes, eventType)
}

// firstRest is how long a write that failed rests. The rest doubles up to longestRest.
const firstRest, longestRest = 250 * time.Millisecond, 10 * time.Second

// handlerGone is after how long without an announcement no worker has a handler any more.
const handlerGone = 3 * AnnounceInterval

// Announce notes in Postgres that this worker has its handlers. Where none had one of them until now, what waits for a
// handler is woken.
func (h *Handlers) Announce(ctx context.Context, a *Announcement) error {
	p := a.params
	if len(p.EventTypes) == 0 {
		return nil
	}
	p.Now = h.Now()
	p.SeenBefore = p.Now.Add(-AnnounceInterval * 3 / 4)
	return h.Store.InTx(ctx, func(tx *postgres.Tx) error {
		back, err := tx.HandledTypesBack(ctx, dbsqlc.HandledTypesBackParams{
			Providers: p.Providers, Kinds: p.Kinds, EventTypes: p.EventTypes, GoneBefore: p.Now.Add(-handlerGone),
		})
		if err != nil {
			return fmt.Errorf("ask which handlers are new: %w", err)
		}
		if err := tx.HandledTypeAnnounce(ctx, p); err != nil {
			return fmt.Errorf("announce handlers: %w", err)
		}
		if len(back) == 0 {
			return nil
		}
		if err := tx.WaitsEndForHandlers(ctx, p.Now, back); err != nil {
			return fmt.Errorf("end waits for handlers: %w", err)
		}
		return nil
	})
}

// AnnounceFirst announces before the first item is taken, so that a worker of an older build stores nothing of what
// this one enumerates or waits for. It reports whether that was done before ctx ended.
func (h *Handlers) AnnounceFirst(ctx context.Context, a *Announcement) bool {
	for rest := firstRest; ; rest = min(2*rest, longestRest) {
		err := h.Announce(ctx, a)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		h.Log.Warn("could not announce handlers, no items are taken before; trying again", "error", err)
		if !loop.Pause(ctx, rest) {
			return false
		}
	}
}
