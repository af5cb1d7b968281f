-- name: RequestCountAdd :exec
-- RequestCountAdd adds to the counters of a minute and of its hour.
insert into request_counts as r (integration_id, grain, starts_at, succeeded, upstream, throttle, client, unknown, cached, duration_ms)
select i.id, g.grain, date_trunc(g.grain, t.at), sum(t.succeeded), sum(t.upstream), sum(t.throttle), sum(t.client), sum(t.unknown), sum(t.cached), sum(t.duration_ms)
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(ats)::timestamptz[]) as at, unnest(sqlc.arg(succeeded)::bigint[]) as succeeded,
             unnest(sqlc.arg(upstream)::bigint[]) as upstream, unnest(sqlc.arg(throttle)::bigint[]) as throttle, unnest(sqlc.arg(client)::bigint[]) as client,
             unnest(sqlc.arg(unknown)::bigint[]) as unknown, unnest(sqlc.arg(cached)::bigint[]) as cached, unnest(sqlc.arg(durations_ms)::bigint[]) as duration_ms) t
    join integrations i on i.id = t.id -- one that was deleted meanwhile is passed over
    cross join (values ('minute'), ('hour')) g(grain)
group by i.id, g.grain, date_trunc(g.grain, t.at)
order by 1, 2, 3
on conflict (integration_id, grain, starts_at) do update set
    succeeded = r.succeeded + excluded.succeeded, upstream = r.upstream + excluded.upstream, throttle = r.throttle + excluded.throttle,
    client = r.client + excluded.client, unknown = r.unknown + excluded.unknown, cached = r.cached + excluded.cached,
    duration_ms = r.duration_ms + excluded.duration_ms;

-- name: RequestCountSum :many
-- RequestCountSum adds up the hours of integrations since a time.
select integration_id, sum(succeeded)::bigint as succeeded, sum(upstream)::bigint as upstream, sum(throttle)::bigint as throttle, sum(client)::bigint as client,
       sum(unknown)::bigint as unknown, sum(cached)::bigint as cached, sum(duration_ms)::bigint as duration_ms
from request_counts
where grain = 'hour' and starts_at > sqlc.arg(since) and integration_id = any(sqlc.arg(integration_ids)::uuid[])
group by integration_id;

-- name: RequestCountMarkRates :many
-- RequestCountMarkRates marks, once an episode, the integrations of whose requests since a time too large a share failed, and clears the mark of those of which
-- fewer do by a margin, or that hardly ask any more. It returns those that it marked or cleared, with what it counted.
with counted as (
    select integration_id, sum(succeeded)::bigint as succeeded, sum(upstream)::bigint as upstream, sum(throttle)::bigint as throttle, sum(client)::bigint as client,
           sum(unknown)::bigint as unknown, sum(upstream + throttle + client + unknown)::bigint as failed
    from request_counts where grain = 'minute' and starts_at > sqlc.arg(since)
    group by integration_id
), judged as (
    select i.id, i.failure_rate_since is not null as was, coalesce(c.succeeded + c.failed, 0)::bigint as requests, coalesce(c.failed, 0)::bigint as failed,
           coalesce(c.upstream, 0)::bigint as upstream, coalesce(c.throttle, 0)::bigint as throttle, coalesce(c.client, 0)::bigint as client, coalesce(c.unknown, 0)::bigint as unknown,
           coalesce(c.succeeded + c.failed >= sqlc.arg(least_requests)::bigint and c.failed * 100 >= (c.succeeded + c.failed)
               * case when i.failure_rate_since is null then sqlc.arg(elevated_percent)::bigint else sqlc.arg(recovered_percent)::bigint end, false) as is_elevated
    from integrations i left join counted c on c.integration_id = i.id
    where (c.integration_id is not null or i.failure_rate_since is not null) and i.id <> all(sqlc.arg(without)::uuid[])
), changed as (
    select * from judged where is_elevated <> was
    order by id
    limit sqlc.arg(most)
)
update integrations i set failure_rate_since = case when j.is_elevated then sqlc.arg(now)::timestamptz end
from changed j
where i.id = j.id and (i.failure_rate_since is not null) = j.was
returning sqlc.embed(i), j.requests, j.failed, j.upstream, j.throttle, j.client, j.unknown;

-- name: RequestCountPrune :execrows
-- RequestCountPrune deletes counters that are no longer asked for, some at a time.
delete from request_counts where ctid = any(array(
    (select m.ctid from request_counts m where m.grain = 'minute' and m.starts_at < sqlc.arg(minutes_before) order by m.starts_at limit sqlc.arg(most))
    union all
    (select h.ctid from request_counts h where h.grain = 'hour' and h.starts_at < sqlc.arg(hours_before) order by h.starts_at limit sqlc.arg(most))
    limit sqlc.arg(most)));
