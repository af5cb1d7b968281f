package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
)

const (
	// briefly bounds the bytes of an error in a list, so that a page fits into a message.
	briefly = 300
	// replyRoom is the room in a message for the reply without the payload.
	replyRoom = 64 << 10
)

// lookup finds an integration by id or by name.
func (c *Control) lookup(ctx context.Context, name string) (*postgres.Integration, error) {
	if name == "" {
		return nil, api.Invalidf(`say which integration: {"integration":"<id or name>"}`)
	}
	missing := api.NotFoundf("there is no integration with the id or name %q", name)
	if !events.ValidToken(name) {
		return nil, missing
	}
	integration, err := c.Store.IntegrationNamed(ctx, name)
	if postgres.NotFound(err) {
		return nil, missing
	}
	if err != nil {
		return nil, fmt.Errorf("look up integration %q: %w", name, err)
	}
	return integration, nil
}

// lookupID is lookup for a filter. An empty name means all integrations, and returns nil.
func (c *Control) lookupID(ctx context.Context, name string) (*uuid.UUID, error) {
	if name == "" {
		return nil, nil
	}
	integration, err := c.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return &integration.ID, nil
}

// pageSize is the number of rows in a page. Callers read one row more to know whether there is a next page.
func pageSize(limit int) (int, error) {
	switch {
	case limit == 0:
		return api.DefaultPage, nil
	case limit < 0 || limit > api.MaxPage:
		return 0, api.Invalidf("limit is %d, it can be 1 to %d", limit, api.MaxPage)
	default:
		return limit, nil
	}
}

// parseBefore parses the place where a page begins. Empty means the newest row.
func parseBefore(before string) (*uuid.UUID, error) {
	if before == "" {
		return nil, nil
	}
	id, err := uuid.Parse(before)
	if err != nil {
		return nil, api.Invalidf(`before is not the "next" of a page`)
	}
	return &id, nil
}

// page reads a page of integrations. Next is where the next page begins; empty after the last page.
func (c *Control) page(
	ctx context.Context, q api.ListIntegrations,
) (rows []*postgres.Integration, next string, err error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return nil, "", err
	}
	if q.Provider != "" && !events.ValidToken(q.Provider) {
		return nil, "", api.Invalidf("%q can't be the key of a provider", q.Provider)
	}
	if q.After != "" && !events.ValidToken(q.After) {
		return nil, "", api.Invalidf(`after is not the "next" of a page`)
	}
	rows, err = c.Store.IntegrationList(
		ctx, dbsqlc.IntegrationListParams{Provider: q.Provider, After: q.After, Most: int32(size) + 1},
	)
	if err != nil {
		return nil, "", fmt.Errorf("list integrations: %w", err)
	}
	if len(rows) > size {
		rows = rows[:size]
		next = rows[size-1].Name
	}
	return rows, next, nil
}

// locked runs a change in a transaction that has locked the integration.
func (c *Control) locked(
	ctx context.Context, name string, change func(*postgres.Tx, *postgres.Integration) error,
) error {
	found, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	return c.Store.InTx(ctx, func(tx *postgres.Tx) error {
		row, err := tx.IntegrationLock(ctx, found.ID)
		if postgres.NotFound(err) {
			return api.NotFoundf("there is no integration with the id or name %q", name)
		}
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", found.ID, err)
		}
		return change(tx, row)
	})
}

func (c *Control) inFuture(until *time.Time) error {
	if until != nil && !until.After(c.Now()) {
		return api.Invalidf("until is %s, which is past", until.Format(time.RFC3339))
	}
	return nil
}

func given(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// names returns the names of the integrations to which rows belong.
func names[Row any](
	ctx context.Context, store *postgres.Store, rows []Row, integrationOf func(Row) uuid.UUID,
) (map[uuid.UUID]string, error) {
	ids := map[uuid.UUID]struct{}{}
	for _, row := range rows {
		ids[integrationOf(row)] = struct{}{}
	}
	found, err := store.IntegrationNames(ctx, slices.Collect(maps.Keys(ids)))
	if err != nil {
		return nil, fmt.Errorf("read the names of integrations: %w", err)
	}
	byID := make(map[uuid.UUID]string, len(found))
	for _, row := range found {
		byID[row.ID] = row.Name
	}
	return byID, nil
}

// brief is the beginning of a long text, for lists.
func brief[T ~string](text T) string { return foreign.Clean(string(text), briefly).String() }

func textOf(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}
