-- name: IncidentRaise :one
-- IncidentRaise opens an incident, or has the open one say that a source is in trouble: its severity only rises. The caller has locked the
-- integration.
with before as (
    select n.id from incidents n where n.integration_id = sqlc.arg(integration_id)::uuid and n.closed_at is null
), raised as (
    insert into incidents as n (id, integration_id, source, reason, raised, peak_severity, opened_at, last_signal_at)
    values (sqlc.arg(id), sqlc.arg(integration_id)::uuid, sqlc.arg(source)::text, sqlc.arg(reason), array[sqlc.arg(source)::text], sqlc.arg(severity)::text, sqlc.arg(now), sqlc.arg(now))
    on conflict (integration_id) where closed_at is null do update set
        raised = case when sqlc.arg(source)::text = any(n.raised) then n.raised else n.raised || sqlc.arg(source)::text end,
        peak_severity = case when array_position(array['degraded', 'failing', 'disabled'], sqlc.arg(severity)::text)
                                  > array_position(array['degraded', 'failing', 'disabled'], n.peak_severity) then sqlc.arg(severity)::text else n.peak_severity end,
        last_signal_at = sqlc.arg(now)
    returning n.*
)
select r.*, (b.id is null)::boolean as opened from raised r left join before b on true;

-- name: IncidentClear :many
-- IncidentClear has the open incident say that a source is well again, and closes it when that was the last. It returns none when the source was not in
-- trouble.
update incidents set
    raised = array_remove(raised, sqlc.arg(source)::text),
    last_signal_at = sqlc.arg(now)::timestamptz,
    closed_at = case when array_remove(raised, sqlc.arg(source)::text) = '{}' then sqlc.arg(now)::timestamptz end
where integration_id = sqlc.arg(integration_id)::uuid and closed_at is null and sqlc.arg(source)::text = any(raised)
returning *;

-- name: IncidentInsert :execrows
-- IncidentInsert opens an incident of the whole installation, once for each id.
insert into incidents (id, source, reason, raised, peak_severity, opened_at, last_signal_at)
values (sqlc.arg(id), sqlc.arg(source)::text, sqlc.arg(reason), array[sqlc.arg(source)::text], sqlc.arg(severity)::text, sqlc.arg(opened_at), sqlc.arg(opened_at))
on conflict (id) do nothing;

-- name: IncidentResolve :one
-- IncidentResolve closes an open incident of the whole installation.
update incidents set raised = '{}', last_signal_at = sqlc.arg(now)::timestamptz, closed_at = sqlc.arg(now)::timestamptz
where id = sqlc.arg(id) and integration_id is null and closed_at is null
returning *;

-- name: IncidentSignalInsert :exec
-- IncidentSignalInsert adds to the timeline, unless the source has said the same before and nothing since.
insert into incident_signals (id, incident_id, source, severity, reason, at)
select sqlc.arg(id), sqlc.arg(incident_id)::uuid, sqlc.arg(source)::text, sqlc.arg(severity)::text, sqlc.arg(reason), sqlc.arg(now)
where sqlc.arg(severity)::text is distinct from (
    select s.severity from incident_signals s where s.incident_id = sqlc.arg(incident_id)::uuid and s.source = sqlc.arg(source)::text order by s.id desc limit 1
);

-- name: IncidentGet :one
select * from incidents where id = sqlc.arg(id);

-- name: IncidentGetOpen :one
select * from incidents where integration_id = sqlc.arg(integration_id)::uuid and closed_at is null;

-- name: IncidentList :many
-- IncidentList is a page of incidents, the newest first: of one integration or all, the open ones or all.
select * from incidents
where (sqlc.narg(integration_id)::uuid is null or integration_id = sqlc.narg(integration_id)::uuid)
  and (not sqlc.arg(open_only)::boolean or closed_at is null)
  and (sqlc.narg(before)::uuid is null or id < sqlc.narg(before)::uuid)
order by id desc
limit sqlc.arg(most);

-- name: IncidentTimeline :many
select * from incident_signals where incident_id = sqlc.arg(incident_id) order by id limit sqlc.arg(most);

-- name: IncidentPrune :execrows
-- IncidentPrune deletes incidents that were closed before a time, some at a time.
delete from incidents where id = any(array(
    select n.id from incidents n where n.closed_at < sqlc.arg(closed_before) order by n.closed_at limit sqlc.arg(most)));

-- name: IncidentForgotten :many
-- IncidentForgotten are integrations with an open incident that has been silent since a time, though nothing is wrong any more that the database knows of.
select i.id from integrations i join incidents n on n.integration_id = i.id
where n.closed_at is null and n.last_signal_at < sqlc.arg(silent_since) and i.health = 'healthy' and i.stale_since is null and i.status <> 'reauth-required'
order by i.id
limit sqlc.arg(most);
