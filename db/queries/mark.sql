-- name: MarkGet :one
select n, nonce, prev, at from mark;

-- name: MarkBegin :exec
insert into mark (n, nonce, prev, at) values (1, sqlc.arg(nonce), sqlc.arg(nonce), sqlc.arg(now)) on conflict do nothing;

-- name: MarkMove :one
-- MarkMove moves the mark from where its mirror is. No row means that it is elsewhere.
update mark set n = n + 1, prev = nonce, nonce = sqlc.arg(nonce), at = sqlc.arg(now)
where n = sqlc.arg(n) and nonce = sqlc.arg(mirrored)
returning n, nonce, prev, at;

-- name: TimesBringForward :one
-- TimesBringForward brings forward what a clock that was ahead has set too late: all that is due later than half of what it was ahead by comes earlier by that
-- much. What was set rightly, and is that far away, comes earlier too, which costs a sync or a try. It returns how many rows it changed.
with integrations_changed as (
    update integrations set
        next_sync_at = case when next_sync_at > sqlc.arg(edge)::timestamptz then greatest(next_sync_at - sqlc.arg(ahead)::interval, sqlc.arg(now)::timestamptz) else next_sync_at end,
        probe_at = case when probe_at > sqlc.arg(edge)::timestamptz then greatest(probe_at - sqlc.arg(ahead)::interval, sqlc.arg(now)::timestamptz) else probe_at end,
        stale_since = least(stale_since, sqlc.arg(now)::timestamptz)
    where next_sync_at > sqlc.arg(edge)::timestamptz or probe_at > sqlc.arg(edge)::timestamptz or stale_since > sqlc.arg(now)::timestamptz
    returning 1
), runs_changed as (
    update sync_runs set
        waiting_until = case when waiting_until > sqlc.arg(edge)::timestamptz then greatest(waiting_until - sqlc.arg(ahead)::interval, sqlc.arg(now)::timestamptz) else waiting_until end,
        heartbeat_at = least(heartbeat_at, sqlc.arg(now)::timestamptz), window_from = least(window_from, sqlc.arg(now)::timestamptz)
    where closed_at is null and (waiting_until > sqlc.arg(edge)::timestamptz or heartbeat_at > sqlc.arg(now)::timestamptz or window_from > sqlc.arg(now)::timestamptz)
    returning 1
), webhooks_changed as (
    update webhooks set next_try_at = greatest(next_try_at - sqlc.arg(ahead)::interval, sqlc.arg(now)::timestamptz)
    where status = 'pending' and next_try_at > sqlc.arg(edge)::timestamptz
    returning 1
), grants_changed as (
    update oauth_grants set due_at = greatest(due_at - sqlc.arg(ahead)::interval, sqlc.arg(now)::timestamptz)
    where due_at > sqlc.arg(edge)::timestamptz
    returning 1
), set_aside_changed as (
    update set_aside set next_try_at = greatest(next_try_at - sqlc.arg(ahead)::interval, sqlc.arg(now)::timestamptz)
    where next_try_at > sqlc.arg(edge)::timestamptz
    returning 1
), items_noted as (
    -- The broker has the items that wait. Which integrations have some is known by their open runs and dead items under redrive.
    insert into waits_ended (integration_id, cause, at)
    select i.id, 'clock', sqlc.arg(now)::timestamptz from integrations i
    where i.id in (select r.integration_id from sync_runs r where r.closed_at is null union all select d.integration_id from dead_items d where d.status = 'redriving')
    order by i.id
    on conflict (integration_id, cause) do update set at = excluded.at, passes = 0
)
select (select count(*) from integrations_changed) + (select count(*) from runs_changed) + (select count(*) from webhooks_changed)
     + (select count(*) from grants_changed) + (select count(*) from set_aside_changed) as changed;
