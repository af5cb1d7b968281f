package api

import (
	"encoding/json"
	"time"
)

// Integration is a connection of a provider.
type Integration struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Name     string `json:"name"`
	Owner    string `json:"owner"`
	// Status is active, paused or disabled.
	Status       string `json:"status"`
	StatusReason string `json:"status_reason,omitempty"`
	// Health is healthy, degraded, failing or disabled; see [Health].
	Health string `json:"health"`
	// SyncInterval is the integration's own interval, such as "5m0s"; empty when the provider's default counts.
	SyncInterval            string     `json:"sync_interval,omitempty"`
	NextSyncAt              *time.Time `json:"next_sync_at"`
	LastSyncedAt            *time.Time `json:"last_synced_at"`
	ConsecutiveSyncFailures int32      `json:"consecutive_sync_failures"`
	StaleSince              *time.Time `json:"stale_since"`
	// Version grows with every change that a running service must notice.
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Details are left out of lists.
	Details *IntegrationDetails `json:"details,omitempty"`
}

// IntegrationDetails are the parts of an integration that may be large.
type IntegrationDetails struct {
	Metadata json.RawMessage `json:"metadata"`
	// Credentials are the names of the fields that are set.
	Credentials []string `json:"credentials"`
	// CredentialsProblem says why the credentials can't be opened, if so.
	CredentialsProblem string          `json:"credentials_problem,omitempty"`
	Cursor             json.RawMessage `json:"cursor"`
	CursorVersion      int64           `json:"cursor_version"`
	// Identity is whose the credentials were when the upstream was last asked; null when it never was.
	Identity *Identity `json:"identity,omitempty"`
	// OpenRun is the id of the run that is open, if any.
	OpenRun string `json:"open_run,omitempty"`
}

// ListIntegrations asks for a page of integrations in the order of their names.
type ListIntegrations struct {
	// Provider restricts the page to one provider.
	Provider string `json:"provider,omitempty"`
	// After is the Next of the page before.
	After string `json:"after,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// IntegrationPage is a page of integrations without details.
type IntegrationPage struct {
	Integrations []Integration `json:"integrations"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// CreateIntegration makes a connection.
type CreateIntegration struct {
	// Provider goes into the subject.
	Provider string `json:"-"`
	// Name is unique: letters, digits, dash and underscore, 100 at most. Empty means the provider's own name.
	Name  string `json:"name,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Metadata and Credentials are JSON objects that fit the provider; [MaxObjectBytes] at most.
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	Credentials json.RawMessage `json:"credentials,omitempty"`
	// SyncInterval is a duration such as "15m": whole minutes, at least one. Empty means the provider's default.
	SyncInterval string `json:"sync_interval,omitempty"`
	// Paused starts it paused: nothing is synced until it is resumed.
	Paused bool `json:"paused,omitempty"`
	// By is who asks, for the log.
	By string `json:"by,omitempty"`
}

// UpdateIntegration changes what is given and leaves the rest.
type UpdateIntegration struct {
	// Provider goes into the subject. It is the integration's and can't be changed.
	Provider    string `json:"-"`
	Integration string `json:"integration"`

	Owner *string `json:"owner,omitempty"`
	// Metadata and Credentials are JSON merge patches (RFC 7396): a null removes a field. The result must fit the provider.
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	Credentials json.RawMessage `json:"credentials,omitempty"`
	// SyncInterval is as in [CreateIntegration]; an empty one goes back to the provider's default.
	SyncInterval *string `json:"sync_interval,omitempty"`
	// By is who asks, for the event.
	By string `json:"by,omitempty"`
}

// DeleteIntegration removes a connection with its runs, dead items and records.
type DeleteIntegration struct {
	Integration string `json:"integration"`
	// Force cancels an open run first; without it one is a reason to refuse.
	Force bool `json:"force,omitempty"`
	// By is who asks, for the events.
	By string `json:"by,omitempty"`
}

// Cursor is where the next incremental sync of an integration starts.
type Cursor struct {
	Integration string `json:"integration"`
	// Cursor is null when there is none.
	Cursor json.RawMessage `json:"cursor"`
	// Version grows with every move.
	Version      int64      `json:"version"`
	LastSyncedAt *time.Time `json:"last_synced_at"`
}

// RecordCount is how many records the built-in sink holds of an integration.
type RecordCount struct {
	Integration string `json:"integration"`
	Records     int64  `json:"records"`
}

// ProviderList is what one scheduler has compiled in.
type ProviderList struct {
	Providers []Provider `json:"providers"`
}

// Provider is a kind of upstream.
type Provider struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	// Scheduled says that it can be synced, Incremental that it can be synced from a cursor.
	Scheduled   bool `json:"scheduled"`
	Incremental bool `json:"incremental"`
	// Webhooks says that it takes webhooks.
	Webhooks bool `json:"webhooks"`
	// DefaultInterval is a duration such as "5m0s"; empty when the provider can't be synced.
	DefaultInterval string  `json:"default_interval,omitempty"`
	Credentials     []Field `json:"credentials"`
	Metadata        []Field `json:"metadata"`
}

// Field is a field of a provider's credentials or metadata.
type Field struct {
	// Name is a path with dots.
	Name     string `json:"name"`
	Required bool   `json:"required"`
	// Rule is its validation tag; empty means that anything goes.
	Rule string `json:"rule,omitempty"`
}
