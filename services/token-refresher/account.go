package tokenrefresher

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// account is an integration with its credentials opened, as a provider's OAuth2 methods see it: what they send through
// HTTP() is sent once and as it is.
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
		ID: id.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner, Credentials: credentials,
		Metadata: row.Metadata,
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

// hasEnded reports whether the access token is past its expiry. One without an expiry has not, unless it is needed and
// refused.
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

// leftAfter is how long after the end of its time a provider that does not return is left behind.
const leftAfter = time.Second

// ask calls a provider's code, which has the time of one call to an upstream. A provider that panics, or does not
// return, has failed.
func ask[T any](
	ctx context.Context, r *Refresher, provider, method string, f func(ctx context.Context) (T, error),
) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Settings.Call)
	defer cancel()
	value, err := panics.Within(ctx, leftAfter, method, func() (T, error) { return f(ctx) })
	panics.Report(r.Log, err, "provider", provider)
	return value, err
}

func tokenIDOf(credentials json.RawMessage) (string, contracts.Token, error) {
	return integrations.TokenID(contracts.NewIntegration(contracts.IntegrationFields{Credentials: credentials}))
}

// clock is what an upstream's answers say of its time.
type clock struct {
	// ahead is by how much this process's clock is ahead of the upstream's; valid if told.
	ahead time.Duration
	told  bool
}

type clockKey struct{}

// in returns a context in which the answers to requests set the clock.
func (c *clock) in(ctx context.Context) context.Context { return context.WithValue(ctx, clockKey{}, c) }

// dated notes the Date of answers.
type dated struct {
	next http.RoundTripper
	now  func() time.Time
}

func (d *dated) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if seen, ok := req.Context().Value(clockKey{}).(*clock); ok && err == nil {
		if theirs, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			seen.ahead, seen.told = d.now().Sub(theirs), true
		}
	}
	return resp, err
}

// sameClock is up to which difference two clocks count as the same: as much as it takes to read both.
const sameClock = time.Second

// onOurClock is a token that a provider has made, on the clock that all services go by. The provider counts from the
// time of this machine.
func (r *Refresher) onOurClock(token contracts.Token) contracts.Token {
	ahead := time.Until(r.Now())
	if token.ExpiresAt != nil && ahead.Abs() >= sameClock {
		ends := token.ExpiresAt.Add(ahead)
		token.ExpiresAt = &ends
	}
	return token
}

// skewed is the difference of two clocks from which on it is named. A Date has whole seconds, and an answer takes some.
const skewed = time.Minute

// String says how the clocks differ; nothing, when they do not.
func (c clock) String() string {
	switch {
	case !c.told || c.ahead.Abs() < skewed:
		return ""
	case c.ahead > 0:
		return fmt.Sprintf(": this machine's clock is %s ahead of the upstream's; set the clock",
			c.ahead.Round(time.Second))
	default:
		return fmt.Sprintf(": this machine's clock is %s behind the upstream's; set the clock",
			-c.ahead.Round(time.Second))
	}
}

func stampOf(at *time.Time) *timestamppb.Timestamp {
	if at == nil {
		return nil
	}
	return timestamppb.New(*at)
}
