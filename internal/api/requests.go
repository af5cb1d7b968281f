package api

import (
	"context"
	"encoding/json"
	"time"
)

// Request is one attempt of a request to a third party. Secrets in it are redacted.
type Request struct {
	ID string `json:"id"`
	// Integration is the integration's name, empty if it was deleted.
	Integration   string `json:"integration"`
	IntegrationID string `json:"integration_id"`
	Provider      string `json:"provider"`
	RunID         string `json:"run_id,omitempty"`
	Item          string `json:"item,omitempty"`
	Webhook       string `json:"webhook,omitempty"`
	// Attempt is counted from 1; FirstID is the first attempt's id.
	Attempt        int32  `json:"attempt"`
	FirstID        string `json:"first_id"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	Method         string `json:"method"`
	Host           string `json:"host"`
	Path           string `json:"path"`
	Query          string `json:"query,omitempty"`
	// Status is null when there was no answer.
	Status *int32 `json:"status"`
	// FailureClass is upstream, throttle, client or unknown, and empty for a success.
	FailureClass string `json:"failure_class,omitempty"`
	Error        string `json:"error,omitempty"`
	// UpstreamID is the id that the upstream gave the request.
	UpstreamID string `json:"upstream_id,omitempty"`
	// DurationMS is until the head of the answer.
	DurationMS    float64   `json:"duration_ms"`
	RequestBytes  int64     `json:"request_bytes"`
	ResponseBytes int64     `json:"response_bytes"`
	CreatedAt     time.Time `json:"created_at"`
	// Details are left out of lists.
	Details *RequestDetails `json:"details,omitempty"`
}

// RequestDetails are the parts of a request that may be large.
type RequestDetails struct {
	RequestHeader  json.RawMessage `json:"request_header"`
	ResponseHeader json.RawMessage `json:"response_header"`
	RequestBody    string          `json:"request_body"`
	ResponseBody   string          `json:"response_body"`
	// RequestCut and ResponseCut say that only the beginning of a body was kept, BodiesDropped that there was no memory to keep one.
	RequestCut    bool `json:"request_cut,omitempty"`
	ResponseCut   bool `json:"response_cut,omitempty"`
	BodiesDropped bool `json:"bodies_dropped,omitempty"`
	// Attempts are all of the same request, this one included.
	Attempts []RequestAttempt `json:"attempts"`
}

// RequestAttempt is one of several attempts.
type RequestAttempt struct {
	ID           string    `json:"id"`
	Attempt      int32     `json:"attempt"`
	Status       *int32    `json:"status"`
	FailureClass string    `json:"failure_class,omitempty"`
	Error        string    `json:"error,omitempty"`
	DurationMS   float64   `json:"duration_ms"`
	CreatedAt    time.Time `json:"created_at"`
}

// ListRequests asks for a page of attempts, newest first. What is empty does not matter.
type ListRequests struct {
	// Integration is an id or a name.
	Integration    string `json:"integration,omitempty"`
	Run            string `json:"run,omitempty"`
	Item           string `json:"item,omitempty"`
	Webhook        string `json:"webhook,omitempty"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	Status         int32  `json:"status,omitempty"`
	// Failed leaves successes out, Class all but one class of failure.
	Failed bool   `json:"failed,omitempty"`
	Class  string `json:"class,omitempty"`
	// Since leaves older ones out.
	Since *time.Time `json:"since,omitempty"`
	// Before is the Next of the page before.
	Before string `json:"before,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// RequestPage is a page of attempts without details.
type RequestPage struct {
	Requests []Request `json:"requests"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// IdempotencyKey is what is known of a key.
type IdempotencyKey struct {
	Integration   string `json:"integration"`
	IntegrationID string `json:"integration_id"`
	Provider      string `json:"provider"`
	Key           string `json:"key"`
	// Hop counts the redirects that led to the request.
	Hop int32 `json:"hop,omitempty"`
	// State is reserved, succeeded, failed or unknown.
	State      string    `json:"state"`
	LeaseUntil time.Time `json:"lease_until"`
	// RequestID is the first attempt's id in the request log.
	RequestID string `json:"request_id,omitempty"`
	// Recoverable says that the answer is kept.
	Recoverable bool      `json:"recoverable"`
	Error       string    `json:"error,omitempty"`
	ResolvedBy  string    `json:"resolved_by,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// ListKeys asks for the keys of which nobody knows the outcome, the last changed first.
type ListKeys struct {
	// Integration is an id or a name.
	Integration string `json:"integration,omitempty"`
	Key         string `json:"key,omitempty"`
	// All includes those whose outcome is known.
	All bool `json:"all,omitempty"`
	// Skip is how many to leave out, Limit how many to return: at most [MaxPage], 0 means [DefaultPage].
	Skip  int `json:"skip,omitempty"`
	Limit int `json:"limit,omitempty"`
}

// KeyPage is a page of keys.
type KeyPage struct {
	Keys []IdempotencyKey `json:"keys"`
}

// ResolveKey tells what came of a request of which nobody knew.
type ResolveKey struct {
	Integration string `json:"integration"`
	Key         string `json:"key"`
	// As is succeeded (the key stays taken) or failed (it is free).
	As   string `json:"as"`
	Note string `json:"note,omitempty"`
	By   string `json:"by"`
}

// Prune asks for old rows to be deleted now, or to be counted.
type Prune struct {
	DryRun bool `json:"dry_run,omitempty"`
}

// Pruned is what was deleted, or would be.
type Pruned struct {
	Tables []PrunedTable `json:"tables"`
	// More says that there was no time for all; asking again goes on.
	More bool `json:"more,omitempty"`
}

// PrunedTable is what was deleted of one table: rows, or whole days.
type PrunedTable struct {
	Table string `json:"table"`
	// Days is for how long rows are kept; 0 when each says so itself.
	Days       int      `json:"days"`
	Rows       int64    `json:"rows"`
	Partitions []string `json:"partitions,omitempty"`
}

// Requests returns one page.
func (c *Client) Requests(ctx context.Context, list ListRequests) (RequestPage, error) {
	return ask[RequestPage](ctx, c, RequestsList, "", list)
}

// Request returns one attempt with its details.
func (c *Client) Request(ctx context.Context, id string) (Request, error) {
	return ask[Request](ctx, c, RequestsShow, "", ByID{ID: id})
}

// Keys returns one page of idempotency keys.
func (c *Client) Keys(ctx context.Context, list ListKeys) (KeyPage, error) {
	return ask[KeyPage](ctx, c, RequestsKeys, "", list)
}

// ResolveKey tells what came of a request of which nobody knew.
func (c *Client) ResolveKey(ctx context.Context, resolve ResolveKey) error {
	_, err := ask[struct{}](ctx, c, RequestsResolve, "", resolve)
	return err
}

// Prune deletes old rows, or counts them.
func (c *Client) Prune(ctx context.Context, prune Prune) (Pruned, error) {
	return ask[Pruned](ctx, c, PruneRun, "", prune)
}
