package api

import (
	"context"
	"time"
)

// The kinds of a [Handler].
const (
	// ItemHandler is one of the application's, for items.
	ItemHandler = "item"
	// WebhookHandler is one of a provider's, for webhooks.
	WebhookHandler = "webhook"
)

// Handler is an event type for which an item-worker has or had a handler.
type Handler struct {
	Provider  string `json:"provider"`
	Kind      string `json:"kind"`
	EventType string `json:"event_type"`
	// Since is when a worker first had it.
	Since time.Time `json:"since"`
	// SeenAt is when a worker last announced that it has it: within the last two minutes while one runs.
	SeenAt time.Time `json:"seen_at"`
}

// ListHandlers asks for a page of handlers, in the order of provider, kind and event type.
type ListHandlers struct {
	// Provider restricts the page to one provider.
	Provider string `json:"provider,omitempty"`
	// After is the Next of the page before.
	After *Handler `json:"after,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// HandlerPage is a page of handlers.
type HandlerPage struct {
	Handlers []Handler `json:"handlers"`
	// Next is null on the last page.
	Next *Handler `json:"next,omitempty"`
}

// ForgetHandler has events of a type no longer wait for a worker that has a handler: items are stored as records, webhooks are ignored. It is refused
// while a worker has the handler.
type ForgetHandler struct {
	Provider string `json:"provider"`
	// Kind is [ItemHandler], also when it is empty, or [WebhookHandler].
	Kind      string `json:"kind,omitempty"`
	EventType string `json:"event_type"`
	By        string `json:"by"`
}

// Handlers returns one page of handlers.
func (c *Client) Handlers(ctx context.Context, list ListHandlers) (HandlerPage, error) {
	return ask[HandlerPage](ctx, c, HandlersList, "", list)
}

// ForgetHandler has events of a type no longer wait for a handler, and returns the handler that is forgotten.
func (c *Client) ForgetHandler(ctx context.Context, forget ForgetHandler) (Handler, error) {
	return ask[Handler](ctx, c, HandlersForget, "", forget)
}
