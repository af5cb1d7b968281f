package health

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// identifyFor is how long an upstream may take to say who is asking.
const identifyFor = 4 * time.Second

// Identity is whose the credentials of an integration are: as it was told for their version, else as the upstream tells now. It is nil when the provider can't
// tell.
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
	identity, err := ResolveIdentity(asking, resolver, in)
	if err != nil {
		return nil, err
	}
	if err := KeepIdentity(ctx, c.Store.Queries, row.ID, identity, version); err != nil {
		return nil, err
	}
	return identity, nil
}

// ResolveIdentity asks an upstream whose the credentials are. A provider that panics has failed, and so has one that
// does not return.
func ResolveIdentity(ctx context.Context, resolver contracts.IdentityResolver, in *contracts.Integration) (identity *contracts.Identity, err error) {
	defer func() { err = redact.New(nil, in).Error(err) }()
	got, err := panics.Within(ctx, leftAfter, "ResolveIdentity", func() (contracts.Identity, error) { return resolver.ResolveIdentity(ctx, in) })
	got.Raw = nil
	return &got, err
}

// KeepIdentity stores whose the credentials of a version are; nil for nobody's. Without the upstream's own record, for nobody knows what is in it.
func KeepIdentity(ctx context.Context, q *dbsqlc.Queries, id uuid.UUID, identity *contracts.Identity, version int64) error {
	var encoded json.RawMessage
	if identity != nil {
		var err error
		if encoded, err = json.Marshal(identity); err != nil {
			return fmt.Errorf("encode the identity of %s: %w", id, err)
		}
	}
	err := q.HealthSetIdentity(ctx, dbsqlc.HealthSetIdentityParams{ID: id, Identity: encoded, IdentityVersion: version})
	if err != nil {
		return fmt.Errorf("keep the identity of %s: %w", id, err)
	}
	return nil
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
