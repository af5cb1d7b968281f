-- name: HealthReport :many
-- HealthReport adds what requests came to since the last report, and moves each integration on by it: one statement for all of a process's
-- integrations. Those that are well and had no failure are neither locked nor written. An integration that is disabled stays so until a probe or an operator
-- enables it. It returns those that were written, with the health that they had before.
with told as (
    select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(failed)::boolean[]) as failed, unnest(sqlc.arg(answered)::boolean[]) as answered,
           unnest(sqlc.arg(failures)::integer[]) as failures, unnest(sqlc.arg(refusals)::integer[]) as refusals, unnest(sqlc.arg(successes)::integer[]) as successes, unnest(sqlc.arg(errors)::varchar[]) as error
), locked as (
    select i.id, i.status, i.health, i.consecutive_failures, i.consecutive_refusals, i.consecutive_successes, i.failing_since,
           t.failed, t.answered, t.failures, t.refusals, t.successes, t.error
    from integrations i join told t on t.id = i.id
    where i.health <> 'disabled'
      and (t.failed or i.health <> 'healthy' or i.consecutive_failures > 0 or i.consecutive_refusals > 0)
    order by i.id
    for no key update of i
), counted as (
    select l.id, l.status, l.health, l.error, l.failed,
           l.failures + case when l.answered then 0 else l.consecutive_failures end as failures,
           l.refusals + case when l.answered then 0 else l.consecutive_refusals end as refusals,
           l.successes + case when l.failed then 0 else l.consecutive_successes end as successes,
           case when l.failures = 0 and l.answered then null
                when l.answered or l.failing_since is null then case when l.failures > 0 then sqlc.arg(now)::timestamptz end
                else l.failing_since end as failing_since
    from locked l
), moved as (
    select c.*, case
        when c.successes >= sqlc.arg(recovered_after)::integer then 'healthy'
        when c.failures >= sqlc.narg(disabled_after)::integer and c.status = 'active'
             and c.failing_since <= sqlc.arg(now)::timestamptz - sqlc.arg(disabled_for)::interval then 'disabled'
        when c.failures >= sqlc.arg(failing_after)::integer or c.health = 'failing' then 'failing'
        when c.failures >= sqlc.arg(degraded_after)::integer or c.refusals >= sqlc.arg(degraded_after)::integer or c.health = 'degraded' then 'degraded'
        else 'healthy' end as next
    from counted c
)
update integrations i set
    health = m.next,
    health_since = case when m.next <> m.health then sqlc.arg(now)::timestamptz else i.health_since end,
    health_reason = case
        when m.next = 'healthy' then ''
        when m.next = m.health then i.health_reason
        when m.failures >= sqlc.arg(degraded_after)::integer then m.failures || ' upstream failures in a row: ' || m.error
        else 'the upstream refuses the credentials: ' || m.error end,
    consecutive_failures = m.failures,
    consecutive_refusals = m.refusals,
    consecutive_successes = case when m.next = 'healthy' then 0 else m.successes end,
    failing_since = m.failing_since,
    last_error = case when m.failed then m.error else i.last_error end,
    last_error_at = case when m.failed then sqlc.arg(now)::timestamptz else i.last_error_at end,
    probe_at = case when m.next = m.health then i.probe_at when m.next = 'healthy' then sqlc.arg(now)::timestamptz + sqlc.arg(idle)::interval
        else sqlc.arg(now)::timestamptz + sqlc.arg(first)::interval end,
    probes = case when m.next = 'healthy' then 0 else i.probes end
from moved m
where i.id = m.id
returning sqlc.embed(i), m.health as before;

-- name: HealthEnable :one
-- HealthEnable makes an integration active and healthy again, whatever was wrong.
update integrations set
    status = 'active', status_reason = '', version = next_fence(version, sqlc.arg(now)::timestamptz), health = 'healthy', health_reason = '', health_since = sqlc.arg(now)::timestamptz,
    consecutive_failures = 0, consecutive_refusals = 0, consecutive_successes = 0, failing_since = null, probes = 0, probe_at = sqlc.arg(probe_at)::timestamptz,
    next_sync_at = case when next_sync_at is null then null else sqlc.arg(now)::timestamptz end, updated_at = sqlc.arg(now)::timestamptz
where id = sqlc.arg(id)
returning *;

-- name: HealthTryAgain :one
-- HealthTryAgain lets a disabled integration prove itself: one more failure disables it again, and some successes make it healthy.
update integrations set
    status = 'active', status_reason = '', version = next_fence(version, sqlc.arg(now)::timestamptz), health = 'failing', health_reason = sqlc.arg(reason), health_since = sqlc.arg(now)::timestamptz,
    consecutive_failures = least(consecutive_failures, sqlc.arg(most_failures)::integer), consecutive_refusals = 0, consecutive_successes = 0,
    next_sync_at = case when next_sync_at is null then null else sqlc.arg(now)::timestamptz end, updated_at = sqlc.arg(now)::timestamptz
where id = sqlc.arg(id) and status = 'disabled' and health = 'disabled'
returning *;

-- name: HealthClaimProbes :many
-- HealthClaimProbes takes the probes that are due, of providers that can be asked and of disabled integrations of any provider, and sets the next ones: later
-- and later while it doesn't help.
with due as (
    select i.id from integrations i
    where i.probe_at <= sqlc.arg(now)::timestamptz
      and (i.status = 'active' and i.provider = any(sqlc.arg(checked)::text[]) or i.status = 'disabled' and i.health = 'disabled' and i.provider = any(sqlc.arg(providers)::text[]))
    order by i.probe_at
    limit sqlc.arg(most)
    for no key update of i skip locked
)
update integrations i set
    probes = case when i.health = 'healthy' then 0 else i.probes + 1 end,
    probe_at = sqlc.arg(now)::timestamptz + case when i.health = 'healthy' then sqlc.arg(idle)::interval
        else least(sqlc.arg(first)::interval * (2 ^ least(i.probes, 20)), sqlc.arg(longest)::interval) end
from due d where i.id = d.id
returning i.*;

-- name: HealthSetIdentity :exec
-- HealthSetIdentity keeps whose the credentials of a version are; an older version's answer never replaces a newer one's.
update integrations set identity = sqlc.narg(identity), identity_version = sqlc.arg(identity_version)
where id = sqlc.arg(id) and identity_version <= sqlc.arg(identity_version);
