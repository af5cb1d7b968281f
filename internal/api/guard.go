package api

import (
	"context"
	"time"
)

// Budget is a request budget.
type Budget struct {
	Limit int `json:"limit"`
	// Window is a duration such as "1h0m0s".
	Window  string `json:"window"`
	Sliding bool   `json:"sliding"`
}

// SetRateLimit puts a request budget in the place of the provider's.
type SetRateLimit struct {
	// Integration is its id or its name.
	Integration string `json:"integration"`
	Limit       int    `json:"limit"`
	// Window is a duration such as "1h", at least a second and at most 31 days.
	Window  string `json:"window"`
	Sliding bool   `json:"sliding,omitempty"`
	// Until is when the provider's budget counts again; null for good.
	Until *time.Time `json:"until,omitempty"`
	By    string     `json:"by,omitempty"`
}

// ClearRateLimit has the provider's request budget count again.
type ClearRateLimit struct {
	Integration string `json:"integration"`
	By          string `json:"by,omitempty"`
}

// RateLimitStatus is how an integration's request budget stands.
type RateLimitStatus struct {
	Integration string `json:"integration"`
	// Limit is the budget that counts, null for none; Source says where it comes from: override, provider or none.
	Limit  *Budget `json:"limit"`
	Source string  `json:"source"`
	// Until is when the override ends, null for never.
	Until *time.Time `json:"until,omitempty"`
	// Provider is the provider's own budget.
	Provider *Budget `json:"provider"`
	// Used is what was let go or leased in the window that ends at WindowEnds, Free what can be now. Integrations that share a budget share these.
	Used       int64      `json:"used"`
	Free       int64      `json:"free"`
	WindowEnds *time.Time `json:"window_ends,omitempty"`
	// LeftAloneUntil is until when the upstream asked for no requests.
	LeftAloneUntil *time.Time `json:"left_alone_until,omitempty"`
	// UpstreamLeft is what the upstream allows until UpstreamUntil, where that is less than we thought.
	UpstreamLeft  *int64     `json:"upstream_left,omitempty"`
	UpstreamUntil *time.Time `json:"upstream_until,omitempty"`
}

// OverrideCircuit takes a circuit in hand.
type OverrideCircuit struct {
	Integration string `json:"integration"`
	// Override is forced-open, forced-closed, disabled, or empty to leave the circuit to itself, closed.
	Override string `json:"override"`
	// Until is when the circuit is left to itself again; null for never.
	Until  *time.Time `json:"until,omitempty"`
	Reason string     `json:"reason,omitempty"`
	By     string     `json:"by,omitempty"`
}

// CircuitStatus is how a circuit stands.
type CircuitStatus struct {
	Integration string `json:"integration"`
	// State is closed, open, or probing while one request looks whether the upstream is well again. An override decides
	// it: open for forced-open, closed for the others.
	State string `json:"state"`
	// Since is when it last opened or closed, and Reason why; null for one that never opened.
	Since  *time.Time `json:"since,omitempty"`
	Reason string     `json:"reason,omitempty"`
	// Until is when an open one lets a request look.
	Until *time.Time `json:"until,omitempty"`
	// Override is forced-open, forced-closed or disabled, until OverrideUntil or for good; empty when the circuit is left to itself.
	Override      string     `json:"override,omitempty"`
	OverrideUntil *time.Time `json:"override_until,omitempty"`
}

// SetRateLimit overrides a request budget.
func (c *Client) SetRateLimit(ctx context.Context, set SetRateLimit) (RateLimitStatus, error) {
	return askProvider[RateLimitStatus](ctx, c, RateLimitSet, set.Integration, "", set)
}

// ClearRateLimit ends the override of a request budget.
func (c *Client) ClearRateLimit(ctx context.Context, remove ClearRateLimit) (RateLimitStatus, error) {
	return askProvider[RateLimitStatus](ctx, c, RateLimitClear, remove.Integration, "", remove)
}

// RateLimit returns how a request budget stands.
func (c *Client) RateLimit(ctx context.Context, integration string) (RateLimitStatus, error) {
	return askProvider[RateLimitStatus](ctx, c, RateLimitStatusShow, integration, "", ByIntegration{Integration: integration})
}

// OverrideCircuit takes a circuit in hand, or leaves it to itself.
func (c *Client) OverrideCircuit(ctx context.Context, override OverrideCircuit) (CircuitStatus, error) {
	return ask[CircuitStatus](ctx, c, CircuitOverride, "", override)
}

// Circuit returns how a circuit stands.
func (c *Client) Circuit(ctx context.Context, integration string) (CircuitStatus, error) {
	return ask[CircuitStatus](ctx, c, CircuitShow, "", ByIntegration{Integration: integration})
}
