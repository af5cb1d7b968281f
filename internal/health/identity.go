package health

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// identifyFor is how long an upstream may take to say who is asking.
const identifyFor = 4 * time.Second

// Identity is whose the credentials of an integration are: as it was told for their version, else as the upstream tells now. It is nil when the provider can't
// tell. The upstream's own record is not kept, for nobody knows what is in it.
func (c *Checker) Identity(ctx context.Context, row *postgres.Integration) (*contracts.Identity, error) {
	provider, err := c.Registry.Provider(row.Provider)
	if err != nil {
		return nil, err
	}
	resolver, ok := provider.(contracts.IdentityResolver)
	if !ok {
		return nil, nil
	}
	version, err := c.credentialsVersion(ctx, row)
	if err != nil {
		return nil, err
	}
	if known := KnownIdentity(row); known != nil && row.IdentityVersion == version {
		return known, nil
	}
	in, err := c.Integrations.Load(ctx, row.ID, row.Version)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, identifyFor)
	defer cancel()
	identity, err := resolve(asking, resolver, in)
	if err != nil {
		return nil, err
	}
	identity.Raw = nil
	encoded, err := json.Marshal(identity)
	if err != nil {
		return nil, fmt.Errorf("encode the identity of %s: %w", row.ID, err)
	}
	err = c.Store.HealthSetIdentity(ctx, dbsqlc.HealthSetIdentityParams{ID: row.ID, Identity: encoded, IdentityVersion: version})
	if err != nil {
		return nil, fmt.Errorf("keep the identity of %s: %w", row.ID, err)
	}
	return &identity, nil
}

func resolve(ctx context.Context, resolver contracts.IdentityResolver, in *contracts.Integration) (identity contracts.Identity, err error) {
	defer panics.Catch(&err, "ResolveIdentity")
	return resolver.ResolveIdentity(ctx, in)
}

func (c *Checker) credentialsVersion(ctx context.Context, row *postgres.Integration) (int64, error) {
	version, err := c.Store.CredentialsVersion(ctx, row.ID)
	if postgres.NotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the credentials of %s: %w", row.ID, err)
	}
	return version, nil
}

// KnownIdentity is whose the credentials of an integration were when that was last asked; nil when it never was.
func KnownIdentity(row *postgres.Integration) *contracts.Identity {
	var identity contracts.Identity
	if len(row.Identity) == 0 || json.Unmarshal(row.Identity, &identity) != nil {
		return nil
	}
	return &identity
}
