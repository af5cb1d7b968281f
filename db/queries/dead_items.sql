-- name: DeadInsertMany :many
-- DeadInsertMany writes dead items; one that stands there already is left as it is and not returned.
insert into dead_items (id, integration_id, provider, run_id, attempt, batch, item_index, event_type, external_id, payload, checkpoint,
                        reason, error, tries, hop, created_at, updated_at)
select d.id, sqlc.arg(integration_id), sqlc.arg(provider), sqlc.arg(run_id), sqlc.arg(attempt), d.batch, d.item_index, d.event_type, d.external_id, d.payload,
       nullif(d.checkpoint, ''), d.reason, d.error, d.tries, d.hop, sqlc.arg(now), sqlc.arg(now)
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(batches)::integer[]) as batch, unnest(sqlc.arg(item_indexes)::integer[]) as item_index,
             unnest(sqlc.arg(event_types)::text[]) as event_type, unnest(sqlc.arg(external_ids)::text[]) as external_id,
             unnest(sqlc.arg(payloads)::bytea[]) as payload, unnest(sqlc.arg(checkpoints)::text[]) as checkpoint,
             unnest(sqlc.arg(reasons)::varchar[]) as reason, unnest(sqlc.arg(errors)::varchar[]) as error,
             unnest(sqlc.arg(tries)::integer[]) as tries, unnest(sqlc.arg(hops)::integer[]) as hop) d
on conflict (run_id, attempt, batch, item_index) do nothing
returning *;

-- name: DeadGet :one
select * from dead_items where id = sqlc.arg(id);

-- name: DeadList :many
-- DeadList lists dead items, newest first, without their payloads: those before an item, when one is given.
select id, integration_id, provider, run_id, attempt, batch, item_index, event_type, external_id, reason, error, tries, status, resolved_by, note, created_at, updated_at
from dead_items
where (sqlc.narg(integration_id)::uuid is null or integration_id = sqlc.narg(integration_id)::uuid)
  and (sqlc.arg(all_of_them)::boolean or status in ('open', 'redriving'))
  and (sqlc.narg(before)::uuid is null
       or (created_at, batch, item_index, id) < (select b.created_at, b.batch, b.item_index, b.id from dead_items b where b.id = sqlc.narg(before)::uuid))
order by created_at desc, batch desc, item_index desc, id desc
limit sqlc.arg(most);

-- name: DeadOfAttempt :many
-- DeadOfAttempt tells the fate of an attempt's dead items; once an item is dead, Postgres knows best.
select batch, item_index, status, note, checkpoint, external_id, event_type from dead_items
where run_id = sqlc.arg(run_id) and attempt = sqlc.arg(attempt);

-- name: DeadClaimRedrive :many
-- DeadClaimRedrive takes open dead items, one or up to a number of an integration's, for another go, each with a hop of its own.
update dead_items set status = 'redriving', hop = next_fence(hop, sqlc.arg(now))::integer, updated_at = sqlc.arg(now)
where id in (
    select d.id from dead_items d
    where d.status = 'open' and d.integration_id = sqlc.arg(integration_id)
      and (sqlc.narg(id)::uuid is null or d.id = sqlc.narg(id)::uuid)
    order by d.created_at limit sqlc.arg(most) for update skip locked)
returning *;

-- name: DeadRedriveState :one
select status, hop from dead_items where id = sqlc.arg(id);

-- name: DeadHop :execrows
-- DeadHop notes a further hop of an item under redrive, by compare-and-set.
update dead_items set hop = sqlc.arg(next_hop), updated_at = sqlc.arg(now)
where id = sqlc.arg(id) and status = 'redriving' and hop = sqlc.arg(hop);

-- name: DeadResolve :execrows
update dead_items set status = sqlc.arg(status), resolved_by = sqlc.arg(resolved_by), note = sqlc.arg(note), updated_at = sqlc.arg(now)
where id = sqlc.arg(id) and status = any(sqlc.arg(from_statuses)::text[]);

-- name: DeadReopen :execrows
-- DeadReopen ends a redrive that failed.
update dead_items set status = 'open', reason = sqlc.arg(reason), error = sqlc.arg(error), tries = sqlc.arg(tries), updated_at = sqlc.arg(now)
where id = sqlc.arg(id) and status = 'redriving';

-- name: DeadReopenLost :execrows
-- DeadReopenLost gives up on redrives that were lost with the broker's store.
update dead_items set status = 'open', updated_at = sqlc.arg(now)
where status = 'redriving' and updated_at < sqlc.arg(older_than);

-- name: DeadSupersedeAttempts :execrows
-- DeadSupersedeAttempts closes the rows of a run's lower attempts, whose records the newer attempt enumerates again.
update dead_items set status = 'superseded', updated_at = sqlc.arg(now)
where run_id = sqlc.arg(run_id) and attempt < sqlc.arg(attempt) and status in ('open', 'redriving');

-- name: DeadSupersedeRuns :execrows
update dead_items set status = 'superseded', updated_at = sqlc.arg(now)
where run_id = any(sqlc.arg(run_ids)::uuid[]) and status in ('open', 'redriving');

-- name: DeadCountOpen :many
select provider, count(*) as items from dead_items where status in ('open', 'redriving') group by provider;

-- name: StreakRaise :many
-- StreakRaise counts one more run for the records that are dead in it, and returns those that have reached the limit for the first time.
with raised as (
    insert into item_streaks as s (integration_id, event_type, external_id, runs)
    select distinct d.integration_id, d.event_type, d.external_id, 1 from dead_items d
    where d.run_id = sqlc.arg(run_id) and d.attempt = sqlc.arg(attempt) and d.status in ('open', 'redriving') and d.external_id <> ''
    on conflict (integration_id, event_type, external_id) do update set runs = s.runs + 1
    returning s.*)
select event_type, external_id, runs from raised where runs >= sqlc.arg(stuck_after)::integer and not alerted;

-- name: StreakAlerted :exec
update item_streaks set alerted = true
where integration_id = sqlc.arg(integration_id) and event_type = sqlc.arg(event_type) and external_id = sqlc.arg(external_id);

-- name: StreakClear :exec
-- StreakClear forgets the records of an integration that were not dead in the run that has just closed whole.
delete from item_streaks s
where s.integration_id = sqlc.arg(integration_id)
  and not exists (select 1 from dead_items d where d.run_id = sqlc.arg(run_id) and d.attempt = sqlc.arg(attempt)
                  and d.status in ('open', 'redriving') and d.event_type = s.event_type and d.external_id = s.external_id);

-- name: DeadResolveMany :execrows
-- DeadResolveMany resolves rows of items that a later delivery of the same batch has done after all.
update dead_items d set status = 'resolved', resolved_by = 'retry', updated_at = sqlc.arg(now)
from (select unnest(sqlc.arg(batches)::integer[]) as batch, unnest(sqlc.arg(item_indexes)::integer[]) as item_index) p
where d.run_id = sqlc.arg(run_id) and d.attempt = sqlc.arg(attempt) and d.batch = p.batch and d.item_index = p.item_index
  and d.status in ('open', 'redriving');

-- name: DeadPrune :execrows
-- DeadPrune deletes items that were settled before a time, some at a time, unless their run still needs them to move its cursor.
delete from dead_items where id = any(array(
    select d.id from dead_items d join sync_runs r on r.id = d.run_id
    where d.status in ('resolved', 'skipped', 'superseded') and d.updated_at < sqlc.arg(settled_before) and r.resolved_at is not null
    order by d.updated_at limit sqlc.arg(most)));
