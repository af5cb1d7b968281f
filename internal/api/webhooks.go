package api

import (
	"encoding/json"
	"time"
)

// Webhook is a delivery of an upstream's.
type Webhook struct {
	ID string `json:"id"`
	// Integration is the integration's name.
	Integration   string `json:"integration"`
	IntegrationID string `json:"integration_id"`
	Provider      string `json:"provider"`
	// DeliveryID is the upstream's id of it, or the hash that stands in for it.
	DeliveryID string `json:"delivery_id"`
	EventType  string `json:"event_type"`
	// Status is pending (to be handled, or to be tried again), processing, processed, ignored (the provider has no handler for its type), failed or skipped.
	Status string `json:"status"`
	// Tries is how many have failed, Replays how often it was replayed.
	Tries   int32 `json:"tries"`
	Replays int32 `json:"replays"`
	// NextTryAt is when a pending one is handled.
	NextTryAt *time.Time `json:"next_try_at"`
	// WaitingFor is what one waits for that was deferred: as of a run. Behind is the id of the webhook that has to be
	// finished first, because of their order.
	WaitingFor string     `json:"waiting_for,omitempty"`
	Behind     string     `json:"behind,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Error      string     `json:"error,omitempty"`
	BodyBytes  int32      `json:"body_bytes"`
	ReceivedAt time.Time  `json:"received_at"`
	FinishedAt *time.Time `json:"finished_at"`
	// Details are left out of lists.
	Details *WebhookDetails `json:"details,omitempty"`
}

// WebhookDetails are the request, without its secrets, and what came of it.
type WebhookDetails struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	// Query and Headers have *** in the place of secrets.
	Query   string              `json:"query"`
	Headers map[string][]string `json:"headers"`
	// Body is the body when it is text and fits a reply.
	Body string `json:"body"`
	// Result is what the handler returned.
	Result      json.RawMessage `json:"result"`
	OrderingKey string          `json:"ordering_key,omitempty"`
	ResolvedBy  string          `json:"resolved_by,omitempty"`
	StartedAt   *time.Time      `json:"started_at"`
}

// ListWebhooks asks for a page of webhooks, newest first.
type ListWebhooks struct {
	// Integration is an id or a name; empty means all.
	Integration string `json:"integration,omitempty"`
	// Status restricts the page to those of one status.
	Status string `json:"status,omitempty"`
	// Before is the Next of the page before.
	Before string `json:"before,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// WebhookPage is a page of webhooks without details.
type WebhookPage struct {
	Webhooks []Webhook `json:"webhooks"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}
