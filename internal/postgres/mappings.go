package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// mappings are those of one integration.
type mappings struct {
	*dbsqlc.Queries
	integration uuid.UUID
	now         func() time.Time
}

// Mappings returns the mappings of an integration.
func (s *Store) Mappings(integration uuid.UUID, now func() time.Time) contracts.Mappings {
	return &mappings{Queries: s.Queries, integration: integration, now: now}
}

// mappingTries is how often a mapping is looked at that was made by somebody else at the very moment; the second look sees it.
const mappingTries = 5

func (m *mappings) Ensure(ctx context.Context, kind, external, proposed string) (internal string, isNew bool, err error) {
	if err := checkMapped(kind, external, proposed); err != nil {
		return "", false, err
	}
	p := dbsqlc.MappingEnsureParams{IntegrationID: m.integration, Kind: kind, ExternalID: external, InternalID: proposed, Now: m.now()}
	row, err := againIfNone(func() (*dbsqlc.MappingEnsureRow, error) { return m.MappingEnsure(ctx, p) })
	if err != nil {
		return "", false, fmt.Errorf("map %s %q: %w", kind, external, err)
	}
	return row.InternalID, row.IsNew, nil
}

func (m *mappings) Claim(ctx context.Context, kind, external, internal string) error {
	claimed, _, err := m.Ensure(ctx, kind, external, internal)
	if err != nil {
		return err
	}
	return onlyBy(kind, external, claimed, internal)
}

func (m *mappings) Remap(ctx context.Context, kind, external, from, to string) error {
	if err := checkMapped(kind, external, from, to); err != nil {
		return err
	}
	p := dbsqlc.MappingRemapParams{IntegrationID: m.integration, Kind: kind, ExternalID: external, Expected: from, InternalID: to, Now: m.now()}
	leads, err := againIfNone(func() (string, error) { return m.MappingRemap(ctx, p) })
	if err != nil {
		return fmt.Errorf("map %s %q anew: %w", kind, external, err)
	}
	return onlyBy(kind, external, leads, to)
}

func (m *mappings) Release(ctx context.Context, kind, external, internal string) error {
	if err := checkMapped(kind, external, internal); err != nil {
		return err
	}
	_, err := m.MappingRelease(ctx, dbsqlc.MappingReleaseParams{IntegrationID: m.integration, Kind: kind, ExternalID: external, InternalID: internal})
	if err != nil {
		return fmt.Errorf("release %s %q: %w", kind, external, err)
	}
	return nil
}

func (m *mappings) Resolve(ctx context.Context, kind string, externals ...string) (map[string]string, error) {
	if err := checkMapped(append([]string{kind}, externals...)...); err != nil {
		return nil, err
	}
	rows, err := m.MappingResolve(ctx, dbsqlc.MappingResolveParams{IntegrationID: m.integration, Kind: kind, ExternalIds: externals})
	if err != nil {
		return nil, fmt.Errorf("resolve ids of kind %s: %w", kind, err)
	}
	found := make(map[string]string, len(rows))
	for _, row := range rows {
		found[row.ExternalID] = row.InternalID
	}
	return found, nil
}

func (m *mappings) Find(ctx context.Context, kind string, internals ...string) (map[string][]string, error) {
	if err := checkMapped(append([]string{kind}, internals...)...); err != nil {
		return nil, err
	}
	rows, err := m.MappingFind(ctx, dbsqlc.MappingFindParams{IntegrationID: m.integration, Kind: kind, InternalIds: internals})
	if err != nil {
		return nil, fmt.Errorf("find ids of kind %s: %w", kind, err)
	}
	found := make(map[string][]string, len(rows))
	for _, row := range rows {
		found[row.InternalID] = append(found[row.InternalID], row.ExternalID)
	}
	return found, nil
}

// againIfNone asks again where a row is sure to be there the next time.
func againIfNone[T any](ask func() (T, error)) (got T, err error) {
	for range mappingTries {
		if got, err = ask(); !NotFound(err) {
			break
		}
	}
	return got, err
}

func onlyBy(kind, external, claimed, requested string) error {
	if claimed != requested {
		return &contracts.MappingClaimedError{Kind: kind, External: external, ClaimedBy: claimed, RequestedBy: requested}
	}
	return nil
}

func checkMapped(texts ...string) error {
	for _, text := range texts {
		switch {
		case text == "":
			return fmt.Errorf("%w: a kind or an id is empty", contracts.ErrInvalidMapping)
		case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
			return fmt.Errorf("%w: %q is not UTF-8 or holds a zero byte", contracts.ErrInvalidMapping, text)
		case utf8.RuneCountInString(text) > contracts.MaxMappedChars:
			return fmt.Errorf("%w: an id has %d characters, at most %d are allowed", contracts.ErrInvalidMapping, utf8.RuneCountInString(text), contracts.MaxMappedChars)
		}
	}
	return nil
}
