package itemworker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// The kinds of handlers, as the table handled_types spells them.
const (
	kindItem    = "item"
	kindWebhook = "webhook"
)

// announceInterval is how often a worker says that it still has its handlers. Rows that any worker announced within most of it are not written again.
const announceInterval = time.Minute

// announcement is what this worker has handlers for: the application's for items of every provider, and the providers' own for webhooks.
func (w *Worker) announcement(ctx context.Context, h *webhooks) dbsqlc.HandledTypeAnnounceParams {
	var p dbsqlc.HandledTypeAnnounceParams
	add := func(provider, kind, eventType string) {
		if foreign.Word(eventType).String() != eventType {
			return // nothing of such a type can be stored
		}
		p.Providers, p.Kinds, p.EventTypes = append(p.Providers, provider), append(p.Kinds, kind), append(p.EventTypes, eventType)
	}
	for _, provider := range w.Registry.Keys() {
		for eventType, handlers := range w.Handlers {
			if len(handlers) > 0 {
				add(provider, kindItem, eventType)
			}
		}
	}
	for _, provider := range slices.Concat(h.ordered, h.unordered) {
		for _, eventType := range w.webhookTypes(ctx, provider) {
			add(provider, kindWebhook, eventType)
		}
	}
	return p
}

// webhookTypes are the event types for which a provider has a handler.
func (w *Worker) webhookTypes(ctx context.Context, key string) []string {
	types, err := ask(ctx, w, "the list of webhook handlers", func() (types []string, err error) {
		provider, err := w.Registry.Provider(key)
		if err != nil {
			return nil, err
		}
		if handler, ok := provider.(contracts.WebhookHandler); ok {
			for eventType, fn := range handler.WebhookHandlers() {
				if fn != nil {
					types = append(types, eventType)
				}
			}
		}
		return types, nil
	})
	if err != nil {
		w.Log.Error("webhook handlers can't be announced; workers of other builds may ignore their deliveries", "provider", key, "error", err)
		return nil
	}
	return types
}

// handlerGone is after how long without an announcement no worker has a handler any more.
const handlerGone = 3 * announceInterval

// announce notes in Postgres that this worker has its handlers. Where none had one of them until now, what waits for a
// handler is woken.
func (w *Worker) announce(ctx context.Context, p dbsqlc.HandledTypeAnnounceParams) error {
	if len(p.EventTypes) == 0 {
		return nil
	}
	p.Now = w.Now()
	p.SeenBefore = p.Now.Add(-announceInterval * 3 / 4)
	return w.Store.InTx(ctx, func(tx *postgres.Tx) error {
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

// announceFirst announces before the first item is taken, so that a worker of an older build stores nothing of what this one enumerates or waits for. It
// reports whether that was done before ctx ended.
func (w *Worker) announceFirst(ctx context.Context, p dbsqlc.HandledTypeAnnounceParams) bool {
	for rest := firstRest; ; rest = min(2*rest, longestRest) {
		err := w.announce(ctx, p)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		w.Log.Warn("could not announce handlers, no items are taken before; trying again", "error", err)
		if !pause(ctx, rest) {
			return false
		}
	}
}
