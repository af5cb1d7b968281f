package api

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// The endpoints that token-refreshers answer. Those on an integration's token are asked per provider, but for TokenShow.
const (
	// TokenShow takes a [ByIntegration] and returns a [TokenStatus].
	TokenShow Endpoint = "token.show"
	// TokenRefresh takes a [RefreshToken] and returns a [TokenStatus]. It answers once there is another token, or once it is known why there is none.
	TokenRefresh Endpoint = "token.refresh"
	// TokenConnect takes a [ConnectIntegration] and returns a [ConnectLink].
	TokenConnect Endpoint = "token.connect"
	// TokenRevoke takes a [RevokeToken] and returns a [TokenStatus].
	TokenRevoke Endpoint = "token.revoke"
	// SecretsStatus takes nothing and returns a [SecretsReport].
	SecretsStatus Endpoint = "secrets.status"
	// SecretsRotate takes a [RotateSecrets] and returns [SecretsRotated].
	SecretsRotate Endpoint = "secrets.rotate"
	// SecretsAudit takes a [ListAudit] and returns an [AuditPage].
	SecretsAudit Endpoint = "secrets.audit"
)

// TokenStatus tells of an integration's OAuth tokens; it never holds one.
type TokenStatus struct {
	// Integration is the integration's name.
	Integration   string `json:"integration"`
	IntegrationID string `json:"integration_id"`
	Provider      string `json:"provider"`
	// State is missing (never connected), connected, uncertain (a refresh broke off, and is tried once more), reauth-required or revoked.
	State string `json:"state"`
	// Usable says that there is a token that has not expired.
	Usable bool `json:"usable"`
	// Version is the integration's, from which on its credentials hold the token.
	Version int64 `json:"version"`
	// ExpiresAt is when the access token ends; null when it doesn't, or nobody knows.
	ExpiresAt *time.Time `json:"expires_at"`
	// RefreshAt is when it is refreshed, or when a refresh that failed is tried again.
	RefreshAt *time.Time `json:"refresh_at"`
	Failures  int32      `json:"failures"`
	Reason    string     `json:"reason,omitempty"`
	// RetryAfterMS is when to ask again for a token, in milliseconds; 0 means that it takes a user.
	RetryAfterMS int64 `json:"retry_after_ms,omitempty"`
}

// RefreshToken asks for another token.
type RefreshToken struct {
	// Provider goes into the subject.
	Provider    string `json:"-"`
	Integration string `json:"integration"`
	// Have names the token that is not to be had again; empty means none.
	Have string `json:"have,omitempty"`
	// Refused says that the upstream refused it although it had not expired.
	Refused bool `json:"refused,omitempty"`
}

// ConnectIntegration asks for a link under which a user authorizes an integration.
type ConnectIntegration struct {
	// Provider goes into the subject; empty has the client look it up.
	Provider    string `json:"-"`
	Integration string `json:"integration"`
	// Revoke asks for the address instead that revokes when it is posted to.
	Revoke bool `json:"revoke,omitempty"`
	// By is who asks, for the events and the audit.
	By string `json:"by,omitempty"`
}

// ConnectLink is for one user to open, before it expires.
type ConnectLink struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// RevokeToken ends an integration's grant: upstream first, then here.
type RevokeToken struct {
	// Provider goes into the subject; empty has the client look it up.
	Provider    string `json:"-"`
	Integration string `json:"integration"`
	// LocalOnly drops the tokens here without asking the upstream, for when that is gone.
	LocalOnly bool `json:"local_only,omitempty"`
	// By is who asks, for the events and the audit.
	By string `json:"by,omitempty"`
}

// SecretsReport is which keys seal how much.
type SecretsReport struct {
	// Primary is the key that seals, Ring all keys there are.
	Primary string   `json:"primary"`
	Ring    []string `json:"ring"`
	Keys    []Key    `json:"keys"`
	// Left is how many values wait to be sealed by the primary key.
	Left int64 `json:"left"`
}

// Key is one key and what it has sealed.
type Key struct {
	ID     string `json:"id"`
	Sealed int64  `json:"sealed"`
	// InRing is false for a key that is missing: what it has sealed can't be opened.
	InRing bool `json:"in_ring"`
}

// RotateSecrets has some values sealed with the primary key.
type RotateSecrets struct {
	// After is the Next of the step before.
	After *uuid.UUID `json:"after,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
	// By is who asks, for the audit.
	By string `json:"by,omitempty"`
}

// SecretsRotated is what one step has done.
type SecretsRotated struct {
	Sealed int `json:"sealed"`
	// Stuck are the ids of integrations whose values can't be opened.
	Stuck []uuid.UUID `json:"stuck,omitempty"`
	// Next is null after the last step.
	Next *uuid.UUID `json:"next"`
	Left int64      `json:"left"`
}

// ListAudit asks for a page of the audit, newest first.
type ListAudit struct {
	// Integration is an id or a name, of a deleted one its id; empty means all.
	Integration string `json:"integration,omitempty"`
	// Before is the Next of the page before.
	Before string `json:"before,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// AuditPage is a page of the audit.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// AuditEntry says who has read or written an integration's credentials, and why.
type AuditEntry struct {
	ID            string    `json:"id"`
	At            time.Time `json:"at"`
	IntegrationID string    `json:"integration_id"`
	// Integration is the integration's name; empty when it was deleted.
	Integration string `json:"integration"`
	// Action is read, write or reseal.
	Action string `json:"action"`
	Who    string `json:"who"`
	Why    string `json:"why"`
	// Version is the credentials', Key the id of the key that sealed them.
	Version int64  `json:"version"`
	Key     string `json:"key"`
}

// Token tells of an integration's tokens.
func (c *Client) Token(ctx context.Context, integration string) (TokenStatus, error) {
	return ask[TokenStatus](ctx, c, TokenShow, "", ByIntegration{Integration: integration})
}

// RefreshToken has another token got.
func (c *Client) RefreshToken(ctx context.Context, refresh RefreshToken) (TokenStatus, error) {
	return ask[TokenStatus](ctx, c, TokenRefresh, refresh.Provider, refresh)
}

// ConnectIntegration makes a link for a user.
func (c *Client) ConnectIntegration(ctx context.Context, connect ConnectIntegration) (link ConnectLink, err error) {
	if connect.Provider, err = c.providerOf(ctx, connect.Provider, connect.Integration); err != nil {
		return link, err
	}
	return ask[ConnectLink](ctx, c, TokenConnect, connect.Provider, connect)
}

// RevokeToken ends a grant.
func (c *Client) RevokeToken(ctx context.Context, revoke RevokeToken) (status TokenStatus, err error) {
	if revoke.Provider, err = c.providerOf(ctx, revoke.Provider, revoke.Integration); err != nil {
		return status, err
	}
	return ask[TokenStatus](ctx, c, TokenRevoke, revoke.Provider, revoke)
}

// Secrets tells which keys seal how much.
func (c *Client) Secrets(ctx context.Context) (SecretsReport, error) {
	return ask[SecretsReport](ctx, c, SecretsStatus, "", struct{}{})
}

// RotateSecrets does one step of a rotation.
func (c *Client) RotateSecrets(ctx context.Context, rotate RotateSecrets) (SecretsRotated, error) {
	return ask[SecretsRotated](ctx, c, SecretsRotate, "", rotate)
}

// Audit returns one page.
func (c *Client) Audit(ctx context.Context, list ListAudit) (AuditPage, error) {
	return ask[AuditPage](ctx, c, SecretsAudit, "", list)
}

// providerOf looks the provider of an integration up unless it is given.
func (c *Client) providerOf(ctx context.Context, given, integration string) (string, error) {
	if given != "" {
		return given, nil
	}
	found, err := c.Integration(ctx, integration)
	return found.Provider, err
}
