package tokenrefresher

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// account is an integration with its credentials opened, as a provider's OAuth2 methods see it: what they send through HTTP() is sent once and as it is.
type account struct {
	row  *postgres.Integration
	flow contracts.OAuth2
	in   *contracts.Integration
	// credentials are as they were at the version.
	credentials json.RawMessage
	version     int64
	token       contracts.Token
	tokenID     string
}

// open reads an integration. Credentials that can't be opened are an error, never none.
func (r *Refresher) open(ctx context.Context, id uuid.UUID, access postgres.Access) (*account, error) {
	row, err := r.Store.IntegrationGet(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read integration %s: %w", id, err)
	}
	flow, ok := r.flows[row.Provider]
	if !ok {
		return nil, fmt.Errorf("provider %q is not compiled in here, or has no OAuth", row.Provider)
	}
	credentials, version, err := r.Store.Credentials(ctx, id, access)
	if err != nil {
		return nil, err
	}
	a := &account{row: row, flow: flow, credentials: credentials, version: version}
	a.in = r.integration(contracts.IntegrationFields{
		ID: id.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner, Credentials: credentials, Metadata: row.Metadata,
	})
	if a.tokenID, a.token, err = integrations.TokenID(a.in); err != nil {
		return nil, err
	}
	return a, nil
}

func (r *Refresher) integration(fields contracts.IntegrationFields) *contracts.Integration {
	fields.Client = r.client
	fields.Log = r.Log.With("provider", fields.Provider, "integration", fields.Name)
	return contracts.NewIntegration(fields)
}

func (a *account) redacted(err error) error { return redacted(a.flow, a.in, err) }

// redacted keeps what a provider says from showing what its credentials are.
func redacted(flow contracts.OAuth2, in *contracts.Integration, err error) error {
	provider, _ := flow.(contracts.Provider)
	return redact.New(provider, in).Error(err)
}

// unattended reports whether the provider gets tokens without a user.
func (a *account) unattended() bool {
	_, ok := a.flow.(contracts.UnattendedGranter)
	return ok
}

// refreshable reports whether a new token can be asked for.
func (a *account) refreshable() bool { return a.token.RefreshToken != "" || a.unattended() }

// hasEnded reports whether the access token is past its expiry. One without an expiry has not, unless it is needed and refused.
func (a *account) hasEnded(now time.Time) bool {
	return a.token.AccessToken == "" || a.token.ExpiresAt != nil && !now.Before(*a.token.ExpiresAt)
}

// merged is a token over the credentials: what the token does not have stays, but for an expiry.
func merged(credentials json.RawMessage, token contracts.Token) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if len(credentials) > 0 {
		if err := json.Unmarshal(credentials, &fields); err != nil {
			return nil, errNoObject
		}
	}
	over, err := json.Marshal(token)
	if err != nil {
		return nil, errNoObject
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(over, &values); err != nil {
		return nil, errNoObject
	}
	maps.Copy(fields, values)
	if token.ExpiresAt == nil {
		delete(fields, "token_expires_at")
	}
	if token.AccessToken == "" {
		delete(fields, "access_token")
	}
	return json.Marshal(fields)
}

// without are the credentials with their tokens dropped, and nothing else.
func without(credentials json.RawMessage) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if len(credentials) > 0 {
		if err := json.Unmarshal(credentials, &fields); err != nil {
			return nil, errNoObject
		}
	}
	for _, name := range []string{"access_token", "refresh_token", "token_expires_at"} {
		delete(fields, name)
	}
	return json.Marshal(fields)
}

// errNoObject stands for the decoder's error, which may quote a secret.
var errNoObject = fmt.Errorf("the credentials are not a JSON object")

// dueAt is when a token is refreshed: its provider's threshold before it expires, and up to as much earlier, so that tokens that were granted together are not
// refreshed together. A token whose life is short is refreshed after about half of it. One that can't be refreshed is looked at when it ends.
func (r *Refresher) dueAt(provider string, expires *time.Time, refreshable bool) *time.Time {
	if expires == nil {
		return nil
	}
	if !refreshable {
		return expires
	}
	threshold := cmp.Or(r.thresholds[provider], contracts.DefaultRefreshThreshold)
	life := max(expires.Sub(r.Now()), 0)
	due := expires.Add(-min(threshold+rand.N(threshold), life/2+rand.N(life/8+1)))
	return &due
}
