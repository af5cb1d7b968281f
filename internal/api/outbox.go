package api

import (
	"context"
	"time"
)

// SetAside is work that failed several times, so that it is set aside and the rest proceeds.
type SetAside struct {
	ID string `json:"id"`
	// Kind is message for a message that the broker refuses, and the name of the step for other work, such as close-run.
	Kind string `json:"kind"`
	// Key is the id of what the work is about: of a run, an integration or a message.
	Key string `json:"key"`
	// About is the subject of a message.
	About string `json:"about,omitempty"`
	// IntegrationID is empty when the work belongs to no integration.
	IntegrationID string `json:"integration_id,omitempty"`
	// Status is failing while its first few tries go on, set-aside, or dropped.
	Status      string    `json:"status"`
	Tries       int32     `json:"tries"`
	Error       string    `json:"error"`
	FailedFirst time.Time `json:"failed_first"`
	FailedLast  time.Time `json:"failed_last"`
	// NextTryAt is null for what was dropped.
	NextTryAt  *time.Time `json:"next_try_at"`
	DroppedBy  string     `json:"dropped_by,omitempty"`
	DropReason string     `json:"drop_reason,omitempty"`
}

// ListSetAside asks for a page of what is set aside, newest first.
type ListSetAside struct {
	// Kind restricts the page to one kind of work.
	Kind string `json:"kind,omitempty"`
	// All includes what is failing and what was dropped.
	All bool `json:"all,omitempty"`
	// Before is the Next of the page before.
	Before string `json:"before,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// SetAsidePage is a page of what is set aside.
type SetAsidePage struct {
	SetAside []SetAside `json:"set_aside"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// RetrySetAside gives work its tries again: one element by its ID, or with All everything that is set aside, of one kind or of any.
type RetrySetAside struct {
	ID   string `json:"id,omitempty"`
	All  bool   `json:"all,omitempty"`
	Kind string `json:"kind,omitempty"`
	By   string `json:"by,omitempty"`
}

// Retried is how much was given its tries again.
type Retried struct {
	Retried int `json:"retried"`
}

// DropSetAside has an element tried no more. A message is deleted.
type DropSetAside struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// SetAside returns one page of what is set aside.
func (c *Client) SetAside(ctx context.Context, list ListSetAside) (SetAsidePage, error) {
	return ask[SetAsidePage](ctx, c, OutboxList, "", list)
}

// RetrySetAside gives work that is set aside its tries again.
func (c *Client) RetrySetAside(ctx context.Context, retry RetrySetAside) (Retried, error) {
	return ask[Retried](ctx, c, OutboxRetry, "", retry)
}

// DropSetAside has work that is set aside tried no more, and returns it.
func (c *Client) DropSetAside(ctx context.Context, drop DropSetAside) (SetAside, error) {
	return ask[SetAside](ctx, c, OutboxDrop, "", drop)
}
