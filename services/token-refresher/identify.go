package tokenrefresher

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// identify asks whose account a user has just authorized, where the provider can tell. It refuses another account than the one that the integration was connected
// to before: its records and cursor belong to that one. An upstream that does not say is no reason to refuse.
func (r *Refresher) identify(ctx context.Context, a *account, token contracts.Token) (*contracts.Identity, error) {
	resolver, ok := a.flow.(contracts.IdentityResolver)
	if !ok {
		return nil, nil
	}
	credentials, err := merged(a.credentials, token)
	if err != nil {
		return nil, err
	}
	in := r.integration(contracts.IntegrationFields{
		ID: a.row.ID.String(), Provider: a.row.Provider, Name: a.row.Name, Owner: a.row.Owner, Credentials: credentials, Metadata: a.row.Metadata,
	})
	ctx, cancel := context.WithTimeout(ctx, r.Settings.Call)
	defer cancel()
	got, err := health.ResolveIdentity(ctx, resolver, in)
	if err != nil || got.ID == "" {
		r.Log.Warn("the upstream did not say whose account it is", "integration", a.row.Name, "provider", a.row.Provider, "error", a.redacted(err))
		return nil, nil
	}
	known := health.KnownIdentity(a.row)
	if known == nil || known.ID == "" || known.ID == got.ID {
		return got, nil
	}
	return nil, &refusal{"other_account", fmt.Sprintf(
		"you are signed in as %s, but this integration belongs to %s. Sign in as %[2]s and open the link again. To give the integration to another account, have it revoked first.",
		called(got), called(known),
	)}
}

// called is what people know an account by.
func called(identity *contracts.Identity) string {
	return cmp.Or(identity.Username, identity.Email, identity.Name, identity.ID)
}
