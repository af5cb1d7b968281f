package tokenrefresher

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

func (r *Refresher) secretsStatus(ctx context.Context, _ struct{}) (api.SecretsReport, error) {
	keys, err := r.Store.Keys(ctx, r.Now())
	if err != nil {
		return api.SecretsReport{}, err
	}
	report := api.SecretsReport{Primary: keys.Primary, Ring: keys.IDs, Keys: []api.Key{}, Left: keys.Left}
	ids := slices.Compact(slices.Sorted(slices.Values(slices.Concat(keys.IDs, slices.Collect(maps.Keys(keys.Sealed))))))
	for _, id := range ids {
		report.Keys = append(report.Keys, api.Key{ID: id, Sealed: keys.Sealed[id], InRing: slices.Contains(keys.IDs, id)})
	}
	return report, nil
}

// secretsRotate seals some values anew. Whoever asks goes on from where the answer says; nothing is lost by stopping.
func (r *Refresher) secretsRotate(ctx context.Context, q api.RotateSecrets) (api.SecretsRotated, error) {
	if q.Limit < 0 || q.Limit > api.MaxPage {
		return api.SecretsRotated{}, api.Invalidf("limit is %d, it can be 1 to %d", q.Limit, api.MaxPage)
	}
	after := uuid.Nil
	if q.After != nil {
		after = *q.After
	}
	done, err := r.Store.Reseal(ctx, after, cmp.Or(q.Limit, api.DefaultPage), postgres.Access{Who: foreign.Word(cmp.Or(q.By, "somebody")), Why: "rotate the keys", At: r.Now()})
	if err != nil {
		return api.SecretsRotated{}, err
	}
	keys, err := r.Store.Keys(ctx, r.Now())
	if err != nil {
		return api.SecretsRotated{}, err
	}
	r.Metrics.keys(keys)
	return api.SecretsRotated{Sealed: done.Sealed, Stuck: done.Stuck, Next: done.Next, Left: keys.Left}, nil
}

func (r *Refresher) secretsAudit(ctx context.Context, q api.ListAudit) (api.AuditPage, error) {
	size := cmp.Or(q.Limit, api.DefaultPage)
	if size < 1 || size > api.MaxPage {
		return api.AuditPage{}, api.Invalidf("limit is %d, it can be 1 to %d", q.Limit, api.MaxPage)
	}
	p := dbsqlc.AuditListParams{Most: int32(size) + 1}
	var err error
	if p.IntegrationID, err = r.idOrName(ctx, q.Integration); err != nil {
		return api.AuditPage{}, err
	}
	if q.Before != "" {
		before, err := uuid.Parse(q.Before)
		if err != nil {
			return api.AuditPage{}, api.Invalidf(`before is not the "next" of a page`)
		}
		p.Before = &before
	}
	rows, err := r.Store.AuditList(ctx, p)
	if err != nil {
		return api.AuditPage{}, fmt.Errorf("read the audit: %w", err)
	}
	page := api.AuditPage{Entries: make([]api.AuditEntry, 0, len(rows))}
	for i, row := range rows {
		if i == size {
			page.Next = rows[i-1].ID.String()
			break
		}
		page.Entries = append(page.Entries, api.AuditEntry{
			ID: row.ID.String(), At: row.At, IntegrationID: row.IntegrationID.String(), Integration: row.Name, Action: row.Action, Who: row.Who.String(), Why: row.Why.String(),
			Version: row.Version, Key: row.KeyID,
		})
	}
	return page, nil
}
