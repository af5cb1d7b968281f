-- name: CircuitMove :execrows
-- CircuitMove notes an opening or closing, unless it or a later one was noted before.
insert into circuits (integration_id, open, transition, reason, since, until)
values (sqlc.arg(integration_id), sqlc.arg(open), sqlc.arg(transition), sqlc.arg(reason), sqlc.arg(since), sqlc.narg(until))
on conflict (integration_id) do update
    set open = excluded.open, transition = excluded.transition, reason = excluded.reason, since = excluded.since, until = excluded.until
    where circuits.transition < excluded.transition;

-- name: CircuitsNoted :many
-- CircuitsNoted are the last transitions noted of some integrations, and of all whose circuit is open.
select c.*, i.provider from circuits c join integrations i on i.id = c.integration_id
where c.open or c.integration_id = any(sqlc.arg(ids)::uuid[]);

-- name: CircuitGet :one
select * from circuits where integration_id = sqlc.arg(integration_id);
