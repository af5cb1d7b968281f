package api

import (
	"context"
	"time"
)

// The endpoints on how integrations fare.
const (
	// HealthList takes a [ListIntegrations] and returns a [HealthPage].
	HealthList Endpoint = "health.list"
	// HealthShow takes a [ByIntegration] and returns a [Health] with its identity. It is asked per provider.
	HealthShow Endpoint = "health.show"
	// HealthTest takes a [ByIntegration] and returns a [TestResult]. It is asked per provider, and answers once the upstream has, or after 8 seconds.
	HealthTest Endpoint = "health.test"
	// StatsList takes a [ListIntegrations] and returns a [StatsPage].
	StatsList Endpoint = "stats.list"
	// IncidentsList takes a [ListIncidents] and returns an [IncidentPage].
	IncidentsList Endpoint = "incidents.list"
	// IncidentsShow takes a [ByID] and returns an [Incident] with its timeline.
	IncidentsShow Endpoint = "incidents.show"
	// IncidentsResolve takes a [ResolveIncident] and returns the [Incident].
	IncidentsResolve Endpoint = "incidents.resolve"
)

// Health is how an integration's upstream fares, by what requests come to.
type Health struct {
	Integration   string `json:"integration"`
	IntegrationID string `json:"integration_id"`
	Provider      string `json:"provider"`
	Status        string `json:"status"`
	// Health is healthy, degraded, failing or disabled.
	Health string     `json:"health"`
	Reason string     `json:"reason,omitempty"`
	Since  *time.Time `json:"since"`
	// ConsecutiveFailures are the upstream's since its last success, ConsecutiveRefusals those of the credentials.
	ConsecutiveFailures int32      `json:"consecutive_failures"`
	ConsecutiveRefusals int32      `json:"consecutive_refusals"`
	LastError           string     `json:"last_error,omitempty"`
	LastErrorAt         *time.Time `json:"last_error_at"`
	// NextProbeAt is when the upstream is asked how it is, if the provider has a health check.
	NextProbeAt *time.Time `json:"next_probe_at"`
	// FailureRateSince is since when too large a share of the requests fails, whatever the reason.
	FailureRateSince *time.Time `json:"failure_rate_since"`
	LastSyncedAt     *time.Time `json:"last_synced_at"`
	StaleSince       *time.Time `json:"stale_since"`
	// Incident is the id of the open one, if any. It and the rest are left out of lists.
	Incident string `json:"incident,omitempty"`
	// Identity is whose the credentials are, null when nobody knows; IdentityProblem says why.
	Identity        *Identity `json:"identity,omitempty"`
	IdentityProblem string    `json:"identity_problem,omitempty"`
}

// Identity is whom credentials belong to at the upstream.
type Identity struct {
	ID       string `json:"id"`
	Username string `json:"username,omitempty"`
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
}

// HealthPage is a page of integrations in the order of their names.
type HealthPage struct {
	Integrations []Health `json:"integrations"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// TestResult is what asking an upstream how it is has come to.
type TestResult struct {
	Integration string `json:"integration"`
	Provider    string `json:"provider"`
	// Result is passed, failed, deferred (it may not be asked now, which says nothing) or unsupported (the provider has no health check).
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
	// TookMS is how long it took, in milliseconds.
	TookMS int64 `json:"took_ms"`
}

// Stats are how the requests and syncs of an integration went.
type Stats struct {
	Integration string `json:"integration"`
	Provider    string `json:"provider"`
	// Day, Week and Month count requests over the last 24 hours, 7 days and 30 days, in whole hours.
	Day   RequestStats `json:"day"`
	Week  RequestStats `json:"week"`
	Month RequestStats `json:"month"`
	// Operations are those that ended in the last 7 days, by what was done and how it ended, such as "sync" and "succeeded".
	Operations map[string]map[string]int64 `json:"operations"`
}

// RequestStats count the attempts of requests that left.
type RequestStats struct {
	Requests int64 `json:"requests"`
	// Failed are all failures; the others are the classes of them.
	Failed   int64 `json:"failed"`
	Upstream int64 `json:"upstream"`
	Throttle int64 `json:"throttle"`
	Client   int64 `json:"client"`
	Unknown  int64 `json:"unknown"`
	// Cached are requests that were answered without an attempt.
	Cached int64 `json:"cached"`
	// AverageMS is how long an attempt took on average, in milliseconds.
	AverageMS float64 `json:"average_ms"`
}

// StatsPage is a page of integrations in the order of their names.
type StatsPage struct {
	Integrations []Stats `json:"integrations"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// Incident is a time in which something was wrong with an integration, or a store that went back to an earlier state.
type Incident struct {
	ID string `json:"id"`
	// Integration is empty where the incident is of the whole installation.
	Integration string `json:"integration"`
	// Source and Reason are the first sign: health, circuit, sync, token, database, nats or provider.
	Source string `json:"source"`
	Reason string `json:"reason"`
	// Raised are the sources that say now that something is wrong.
	Raised []string `json:"raised"`
	// PeakSeverity is degraded, failing or disabled.
	PeakSeverity string     `json:"peak_severity"`
	OpenedAt     time.Time  `json:"opened_at"`
	LastSignalAt time.Time  `json:"last_signal_at"`
	ClosedAt     *time.Time `json:"closed_at"`
	// Timeline is left out of lists.
	Timeline []IncidentSignal `json:"timeline,omitempty"`
}

// IncidentSignal is an entry of an incident's timeline.
type IncidentSignal struct {
	At     time.Time `json:"at"`
	Source string    `json:"source"`
	// Severity is empty when the source sees no trouble any more.
	Severity string `json:"severity"`
	Reason   string `json:"reason"`
}

// ListIncidents asks for a page of incidents, the newest first.
type ListIncidents struct {
	// Integration restricts the page to one, by id or name.
	Integration string `json:"integration,omitempty"`
	Open        bool   `json:"open,omitempty"`
	// Before is the Next of the page before.
	Before string `json:"before,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// IncidentPage is a page of incidents without timelines.
type IncidentPage struct {
	Incidents []Incident `json:"incidents"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// ResolveIncident closes an incident of the whole installation. Those of integrations close by themselves.
type ResolveIncident struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// Healths returns one page.
func (c *Client) Healths(ctx context.Context, list ListIntegrations) (HealthPage, error) {
	return ask[HealthPage](ctx, c, HealthList, "", list)
}

// Health returns how one integration fares, and whose its credentials are. provider is looked up when it is empty.
func (c *Client) Health(ctx context.Context, integration, provider string) (Health, error) {
	return askProvider[Health](ctx, c, HealthShow, integration, provider, ByIntegration{Integration: integration})
}

// TestHealth has an upstream asked how it is. provider is looked up when it is empty.
func (c *Client) TestHealth(ctx context.Context, integration, provider string) (TestResult, error) {
	return askProvider[TestResult](ctx, c, HealthTest, integration, provider, ByIntegration{Integration: integration})
}

// askProvider asks a scheduler that has the integration's provider, which is looked up when it is empty.
func askProvider[Reply any](ctx context.Context, c *Client, endpoint Endpoint, integration, provider string, request any) (reply Reply, err error) {
	if provider == "" {
		found, err := c.Integration(ctx, integration)
		if err != nil {
			return reply, err
		}
		provider = found.Provider
	}
	return ask[Reply](ctx, c, endpoint, provider, request)
}

// Stats returns one page.
func (c *Client) Stats(ctx context.Context, list ListIntegrations) (StatsPage, error) {
	return ask[StatsPage](ctx, c, StatsList, "", list)
}

// Incidents returns one page.
func (c *Client) Incidents(ctx context.Context, list ListIncidents) (IncidentPage, error) {
	return ask[IncidentPage](ctx, c, IncidentsList, "", list)
}

// Incident returns one incident with its timeline.
func (c *Client) Incident(ctx context.Context, id string) (Incident, error) {
	return ask[Incident](ctx, c, IncidentsShow, "", ByID{ID: id})
}

// ResolveIncident closes an incident of the whole installation, and returns it.
func (c *Client) ResolveIncident(ctx context.Context, resolve ResolveIncident) (Incident, error) {
	return ask[Incident](ctx, c, IncidentsResolve, "", resolve)
}
