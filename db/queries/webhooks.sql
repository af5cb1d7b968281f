-- name: WebhookInsertMany :many
-- WebhookInsertMany stores deliveries and returns those that are new. A copy is not: one with the upstream's id again, or one without an id that has the content of another
-- received not long before. What was sent to an integration that is gone has no place.
insert into webhooks (id, integration_id, provider, delivery_id, copy, event_type, ordering_key, sequence, method, path, query, headers, body, key_id, sealed,
                      next_try_at, received_at, stored_at)
select d.id, d.integration_id, i.provider, d.delivery_id, d.copy, d.event_type, d.ordering_key, d.sequence, d.method, d.path, d.query, d.headers::jsonb, d.body,
       d.key_id, d.sealed, sqlc.arg(now), d.received_at, sqlc.arg(now)
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(integration_ids)::uuid[]) as integration_id,
             unnest(sqlc.arg(delivery_ids)::text[]) as delivery_id, unnest(sqlc.arg(copies)::bigint[]) as copy,
             unnest(sqlc.arg(event_types)::varchar[]) as event_type, unnest(sqlc.arg(ordering_keys)::varchar[]) as ordering_key,
             unnest(sqlc.arg(sequences)::bigint[]) as sequence, unnest(sqlc.arg(methods)::text[]) as method,
             unnest(sqlc.arg(paths)::text[]) as path, unnest(sqlc.arg(queries)::text[]) as query, unnest(sqlc.arg(headers)::text[]) as headers,
             unnest(sqlc.arg(bodies)::bytea[]) as body, unnest(sqlc.arg(key_ids)::text[]) as key_id, unnest(sqlc.arg(sealed)::bytea[]) as sealed,
             unnest(sqlc.arg(received_ats)::timestamptz[]) as received_at) d
join integrations i on i.id = d.integration_id
where d.copy = 0 or not exists (
    select 1 from webhooks w where w.integration_id = d.integration_id and w.delivery_id = d.delivery_id
      and w.received_at > d.received_at - sqlc.arg(hash_window)::interval and w.received_at < d.received_at + sqlc.arg(hash_window)::interval)
on conflict do nothing
returning id, integration_id, provider, received_at;

-- name: WebhookStored :many
-- WebhookStored tells which deliveries are stored, and since when.
select id, stored_at from webhooks where id = any(sqlc.arg(ids)::uuid[]);

-- name: WebhookSourceTouch :many
-- WebhookSourceTouch notes when integrations got their last webhook, once a minute at most, and returns those that were silent.
with news as (
    select unnest(sqlc.arg(integration_ids)::uuid[]) as integration_id, unnest(sqlc.arg(received_ats)::timestamptz[]) as received_at
), silent as (
    select s.integration_id from webhook_sources s join news n on n.integration_id = s.integration_id where s.silent_since is not null
), touched as (
    insert into webhook_sources as s (integration_id, last_received_at)
    select n.integration_id, n.received_at from news n join integrations i on i.id = n.integration_id
    on conflict (integration_id) do update set last_received_at = greatest(s.last_received_at, excluded.last_received_at), silent_since = null
        where s.silent_since is not null or s.last_received_at < excluded.last_received_at - interval '1 minute'
    returning s.integration_id
)
select i.* from silent join integrations i on i.id = silent.integration_id;

-- name: WebhookMarkSilent :many
-- WebhookMarkSilent marks, once an episode, active integrations that got webhooks and have got none since a time.
with silent as (
    select s.integration_id, i.provider, i.name, i.owner from webhook_sources s join integrations i on i.id = s.integration_id
    where i.status = 'active' and s.silent_since is null and s.last_received_at < sqlc.arg(none_since)::timestamptz
      and s.integration_id <> all(sqlc.arg(without)::uuid[])
    order by s.integration_id
    limit sqlc.arg(most)
    for no key update of s skip locked
)
update webhook_sources s set silent_since = sqlc.arg(now)
from silent
where s.integration_id = silent.integration_id
returning s.integration_id as id, silent.provider, silent.name, silent.owner, s.last_received_at;

-- name: WebhookClaim :many
-- WebhookClaim takes deliveries that are due, and those whose claimant has died; another worker's claims are passed over. One with an ordering key waits for those before it: also for what
-- may still be on its way from the stream, which is anything before the settled sequence or, when that can't be told, what was stored a moment ago. Those that were in work at the deaths of
-- several workers are claimed apart from the others. Each part of the query names the predicate of the partial index that it reads. The integration is looked up for each delivery
-- (offset 0 sees to that): joined, it would have the planner begin with all integrations when it does not know how few deliveries wait.
with abandoned as (
    select p.id from webhooks p
    where p.status = 'processing' and p.lease_until < sqlc.arg(now)::timestamptz
      and p.provider = any(sqlc.arg(providers)::text[])
      and exists (select 1 from integrations i where i.id = p.integration_id and i.status = 'active' offset 0)
      and (p.crashes + 1 >= sqlc.arg(suspect_after)::integer) = sqlc.arg(suspects)::boolean
      and (p.ordering_key = '' or (p.sequence <= sqlc.arg(settled)::bigint or p.stored_at < sqlc.arg(settled_before)::timestamptz)
           and not exists (select 1 from webhooks o where o.integration_id = p.integration_id and o.ordering_key = p.ordering_key and o.ordering_key <> ''
                           and o.status in ('pending', 'processing') and o.id < p.id))
    order by p.lease_until
    limit sqlc.arg(most)
    for update of p skip locked
), due as (
    select p.id from webhooks p
    where p.status = 'pending' and p.next_try_at <= sqlc.arg(now)::timestamptz
      and p.provider = any(sqlc.arg(providers)::text[])
      and exists (select 1 from integrations i where i.id = p.integration_id and i.status = 'active' offset 0)
      and (p.crashes >= sqlc.arg(suspect_after)::integer) = sqlc.arg(suspects)::boolean and (not sqlc.arg(suspects)::boolean or p.crashes > 0)
      and (p.ordering_key = '' or (p.sequence <= sqlc.arg(settled)::bigint or p.stored_at < sqlc.arg(settled_before)::timestamptz)
           and not exists (select 1 from webhooks o where o.integration_id = p.integration_id and o.ordering_key = p.ordering_key and o.ordering_key <> ''
                           and o.status in ('pending', 'processing') and o.id < p.id))
    order by p.next_try_at, p.id
    limit sqlc.arg(most)
    for update of p skip locked
), claimed as (
    select * from abandoned union all select * from due limit sqlc.arg(most)
)
update webhooks w set status = 'processing', attempt = next_fence(w.attempt, sqlc.arg(now)::timestamptz)::integer, crashes = w.crashes + (w.status = 'processing')::integer,
    lease_until = sqlc.arg(lease_until)::timestamptz, started_at = sqlc.arg(now)::timestamptz, window_from = coalesce(w.window_from, sqlc.arg(now)::timestamptz)
from claimed c, integrations i
where w.id = c.id and i.id = w.integration_id
returning w.*, i.version as integration_version, i.name as integration_name, i.owner as integration_owner;

-- name: WebhookRenew :exec
-- WebhookRenew keeps claims from counting as abandoned. A row that somebody has locked is passed over, as every claim passes over it: the others' leases must not wait for it.
with held as (
    select p.id from webhooks p
    join (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(attempts)::integer[]) as attempt) d on p.id = d.id and p.attempt = d.attempt
    where p.status = 'processing' for update of p skip locked
)
update webhooks w set lease_until = sqlc.arg(lease_until)::timestamptz from held where w.id = held.id;

-- name: WebhookFinishMany :many
-- WebhookFinishMany writes what became of claims that are still their claimant's, and returns their ids. What is handed back with no error keeps its crashes: it has not
-- run to its end.
update webhooks w set status = d.status, next_try_at = d.next_try_at, tries = d.tries, reason = d.reason, error = d.error,
    result = nullif(d.result, '')::jsonb, crashes = case when d.status = 'pending' and d.error = '' then w.crashes else 0 end,
    lease_until = null, waiting_for = d.waiting_for, deferrals = d.deferrals,
    finished_at = case when d.status = 'pending' then null else sqlc.arg(now)::timestamptz end
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(attempts)::integer[]) as attempt, unnest(sqlc.arg(statuses)::text[]) as status,
             unnest(sqlc.arg(next_try_ats)::timestamptz[]) as next_try_at, unnest(sqlc.arg(tries)::integer[]) as tries,
             unnest(sqlc.arg(reasons)::varchar[]) as reason, unnest(sqlc.arg(errors)::varchar[]) as error, unnest(sqlc.arg(results)::text[]) as result,
             unnest(sqlc.arg(waiting_fors)::text[]) as waiting_for, unnest(sqlc.arg(deferrals)::integer[]) as deferrals) d
where w.id = d.id and w.attempt = d.attempt and w.status = 'processing'
returning w.id;

-- name: WebhookReplay :execrows
-- WebhookReplay gives deliveries all their tries again: one, or those of an integration that failed, or those of a time whatever became of them.
update webhooks w set status = 'pending', next_try_at = sqlc.arg(now), tries = 0, crashes = 0, replays = w.replays + 1, window_from = null, waiting_for = '', deferrals = 0,
    reason = '', error = '', resolved_by = '', finished_at = null
where w.integration_id = sqlc.arg(integration_id)
  and (sqlc.narg(id)::uuid is null or w.id = sqlc.narg(id)::uuid)
  and (not sqlc.arg(failed_only)::boolean or w.status = 'failed')
  and (sqlc.narg(since)::timestamptz is null or w.received_at >= sqlc.narg(since)::timestamptz)
  and (sqlc.narg(until)::timestamptz is null or w.received_at < sqlc.narg(until)::timestamptz)
  and w.status in ('processed', 'ignored', 'failed', 'skipped');

-- name: WebhookSkip :execrows
update webhooks set status = 'skipped', resolved_by = sqlc.arg(resolved_by), reason = sqlc.arg(reason), finished_at = sqlc.arg(now)
where id = sqlc.arg(id) and integration_id = sqlc.arg(integration_id) and status = 'failed';

-- name: WebhookGet :one
select * from webhooks where id = sqlc.arg(id);

-- name: WebhookList :many
-- WebhookList lists deliveries, newest first, without what may be large: those before one, when it is given.
select w.id, w.integration_id, i.name as integration_name, w.provider, w.delivery_id, w.event_type, w.status, w.tries, w.replays, w.next_try_at, w.reason, w.error,
       w.received_at, w.finished_at, length(w.body)::integer as body_bytes, w.waiting_for
from webhooks w join integrations i on i.id = w.integration_id
where (sqlc.narg(integration_id)::uuid is null or w.integration_id = sqlc.narg(integration_id)::uuid)
  and (sqlc.arg(status)::text = '' or w.status = sqlc.arg(status)::text)
  and (sqlc.narg(before)::uuid is null or w.id < sqlc.narg(before)::uuid)
order by w.id desc
limit sqlc.arg(most);

-- name: WebhookBehind :many
-- WebhookBehind tells behind which delivery each of some waits, because of their order.
select w.id, o.id as behind from webhooks w
cross join lateral (
    select h.id from webhooks h where h.integration_id = w.integration_id and h.ordering_key = w.ordering_key and h.ordering_key <> ''
      and h.status in ('pending', 'processing') and h.id < w.id
    order by h.id limit 1) o
where w.id = any(sqlc.arg(ids)::uuid[]) and w.status = 'pending';

-- name: WebhookCount :many
-- WebhookCount counts what is not finished, and what failed.
select provider, status, count(*) as webhooks, min(received_at)::timestamptz as oldest from webhooks where status = 'pending' group by provider, status
union all
select provider, status, count(*), min(received_at)::timestamptz from webhooks where status = 'processing' group by provider, status
union all
select provider, status, count(*), min(received_at)::timestamptz from webhooks where status = 'failed' group by provider, status;

-- name: WebhookPrune :execrows
-- WebhookPrune deletes deliveries that were received before a time and are not waiting for anything. A failed one is kept as long as the others.
delete from webhooks where id = any(array(
    select w.id from webhooks w where w.received_at < sqlc.arg(received_before) and w.status in ('processed', 'ignored', 'failed', 'skipped')
    order by w.received_at limit sqlc.arg(most)));

-- name: WebhookLost :execrows
-- WebhookLost fails a delivery that is finished, because its handler dispatched a record too late. It can be replayed.
update webhooks set status = 'failed', reason = 'lost', error = sqlc.arg(error), lease_until = null,
    finished_at = coalesce(finished_at, sqlc.arg(now)::timestamptz)
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and status in ('processing', 'processed');
