package control

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// timelineAtMost bounds the signals that an incident is shown with.
const timelineAtMost = 500

type incidentsAPI struct{ *Control }

func (c incidentsAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.IncidentsList, Answer: api.Takes(c.list)},
		{Endpoint: api.IncidentsShow, Answer: api.Takes(c.show)},
		{Endpoint: api.IncidentsResolve, Answer: api.Takes(c.resolve)},
	}
}

func (c incidentsAPI) list(ctx context.Context, q api.ListIncidents) (api.IncidentPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.IncidentPage{}, err
	}
	integration, err := c.lookupID(ctx, q.Integration)
	if err != nil {
		return api.IncidentPage{}, err
	}
	before, err := parseBefore(q.Before)
	if err != nil {
		return api.IncidentPage{}, err
	}
	rows, err := c.Store.IncidentList(
		ctx,
		dbsqlc.IncidentListParams{IntegrationID: integration, OpenOnly: q.Open, Before: before, Most: int32(size) + 1},
	)
	if err != nil {
		return api.IncidentPage{}, fmt.Errorf("list incidents: %w", err)
	}
	page := api.IncidentPage{Incidents: make([]api.Incident, 0, len(rows))}
	if len(rows) > size {
		rows = rows[:size]
		page.Next = rows[size-1].ID.String()
	}
	byID, err := names(ctx, c.Store, rows, ofIncident)
	if err != nil {
		return api.IncidentPage{}, err
	}
	for _, row := range rows {
		incident := incidentReply(row, byID[ofIncident(row)])
		incident.Reason = brief(incident.Reason)
		page.Incidents = append(page.Incidents, incident)
	}
	return page, nil
}

func (c incidentsAPI) show(ctx context.Context, q api.ByID) (api.Incident, error) {
	id, err := incidentID(q.ID)
	if err != nil {
		return api.Incident{}, err
	}
	return c.read(ctx, id)
}

// read returns an incident with its timeline.
func (c incidentsAPI) read(ctx context.Context, id uuid.UUID) (api.Incident, error) {
	row, err := c.Store.IncidentGet(ctx, id)
	if postgres.NotFound(err) {
		return api.Incident{}, api.NotFoundf("there is no incident %s", id)
	}
	if err != nil {
		return api.Incident{}, fmt.Errorf("read incident %s: %w", id, err)
	}
	byID, err := names(ctx, c.Store, []*dbsqlc.Incident{row}, ofIncident)
	if err != nil {
		return api.Incident{}, err
	}
	signals, err := c.Store.IncidentTimeline(ctx, id, timelineAtMost)
	if err != nil {
		return api.Incident{}, fmt.Errorf("read the timeline of incident %s: %w", id, err)
	}
	incident := incidentReply(row, byID[ofIncident(row)])
	for _, signal := range signals {
		incident.Timeline = append(
			incident.Timeline,
			api.IncidentSignal{
				At: signal.At, Source: signal.Source, Severity: signal.Severity, Reason: brief(signal.Reason),
			},
		)
	}
	return incident, nil
}

func incidentReply(row *dbsqlc.Incident, name string) api.Incident {
	return api.Incident{
		ID: row.ID.String(), Integration: name, Source: row.Source, Reason: row.Reason.String(), Raised: row.Raised,
		PeakSeverity: row.PeakSeverity,
		OpenedAt:     row.OpenedAt, LastSignalAt: row.LastSignalAt, ClosedAt: row.ClosedAt,
	}
}

// ofIncident is the integration of an incident. It is the zero id for an incident of the whole installation.
func ofIncident(row *dbsqlc.Incident) uuid.UUID {
	if row.IntegrationID == nil {
		return uuid.Nil
	}
	return *row.IntegrationID
}

func incidentID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, api.NotFoundf(
			"%q is not the id of an incident; list them with: tributary incidents list", text,
		)
	}
	return id, nil
}

// resolve closes an incident of the whole installation. A closed incident stays as it is.
func (c incidentsAPI) resolve(ctx context.Context, q api.ResolveIncident) (api.Incident, error) {
	id, err := incidentID(q.ID)
	if err != nil {
		return api.Incident{}, err
	}
	if q.By == "" || q.Reason == "" {
		return api.Incident{}, api.Invalidf("say who resolves it (by) and what was done (reason)")
	}
	resolved := false
	err = c.Store.InTx(ctx, func(tx *postgres.Tx) (err error) {
		resolved, err = health.Resolve(ctx, tx, id, foreign.Clean("resolved by "+q.By+": "+q.Reason, briefly), c.Now())
		return err
	})
	if err != nil {
		return api.Incident{}, err
	}
	shown, err := c.read(ctx, id)
	switch {
	case err != nil:
		return api.Incident{}, err
	case resolved:
		c.Log.Info("incident resolved", "incident", id, "by", q.By)
	case shown.ClosedAt == nil:
		return api.Incident{}, refusedf(
			"this incident is of the integration %s: it closes by itself when nothing is wrong any more",
			shown.Integration,
		)
	}
	return shown, nil
}
