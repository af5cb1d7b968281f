-- name: RunInsertMany :many
-- RunInsertMany opens runs; an integration that has an open run already keeps that one, and its row is not returned.
insert into sync_runs (id, integration_id, provider, mode, cause, state, heartbeat_at, window_from, cursor_from, cursor_version, trace, created_at)
select r.id, i.id, i.provider, sqlc.arg(mode)::text, sqlc.arg(cause)::text, 'due', sqlc.arg(now), sqlc.arg(now), i.sync_cursor, i.cursor_version, r.trace, sqlc.arg(now)
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(integration_ids)::uuid[]) as integration_id, unnest(sqlc.arg(traces)::text[]) as trace) r
join integrations i on i.id = r.integration_id
on conflict (integration_id) where closed_at is null do nothing
returning *;

-- name: RunGet :one
select * from sync_runs where id = sqlc.arg(id);

-- name: RunLock :one
select * from sync_runs where id = sqlc.arg(id) for update;

-- name: RunShare :one
-- RunShare holds off everything that would close the run or raise its attempt until the transaction ends.
select * from sync_runs where id = sqlc.arg(id) for share;

-- name: RunGetOpen :one
select * from sync_runs where integration_id = sqlc.arg(integration_id) and closed_at is null;

-- name: RunLockOpen :one
select * from sync_runs where integration_id = sqlc.arg(integration_id) and closed_at is null for update;

-- name: RunList :many
-- RunList lists runs, newest first: those before a run, when one is given.
select * from sync_runs
where (sqlc.narg(integration_id)::uuid is null or integration_id = sqlc.narg(integration_id)::uuid)
  and (not sqlc.arg(open_only)::boolean or closed_at is null)
  and (sqlc.narg(before)::uuid is null
       or (created_at, id) < (select b.created_at, b.id from sync_runs b where b.id = sqlc.narg(before)::uuid))
order by created_at desc, id desc
limit sqlc.arg(most);

-- name: RunStartAttempt :one
-- RunStartAttempt raises the attempt, if it is the expected one, and counts a try before the provider is called.
update sync_runs set attempt = next_fence(attempt, sqlc.arg(now))::integer, attempts = attempts + 1, tries = tries + 1, state = 'enumerating', heartbeat_at = sqlc.arg(now), waiting_until = null, waiting_for = '',
    lost = ''
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and state in ('due', 'enumerating')
returning *;

-- name: RunHeartbeat :one
-- RunHeartbeat keeps the run from being driven again, and tells whether it still accepts the attempt.
update sync_runs r set heartbeat_at = sqlc.arg(now)
from integrations i
where r.id = sqlc.arg(id) and r.attempt = sqlc.arg(attempt) and r.closed_at is null and i.id = r.integration_id
returning i.status;

-- name: RunAccepts :one
-- RunAccepts tells what every delivery and publication of a run must know before it goes on.
select r.attempt, (r.closed_at is not null)::boolean as closed, i.status, i.version
from sync_runs r join integrations i on i.id = r.integration_id
where r.id = sqlc.arg(id);

-- name: RunWait :one
-- RunWait puts a run aside until a time, or without one until it is resumed, and returns the tries that count. give_back is 1 when the last one is not to. What the run
-- waits for is empty after a failure; deferrals in a row are counted.
update sync_runs set state = 'waiting', waiting_until = sqlc.narg(waiting_until), error = sqlc.arg(error), heartbeat_at = sqlc.arg(now),
    tries = tries - sqlc.arg(give_back)::integer, waiting_for = sqlc.arg(waiting_for),
    deferrals = case when sqlc.arg(waiting_for) = '' then 0 when sqlc.arg(waiting_for) = 'pause' then deferrals else deferrals + 1 end
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and state in ('due', 'enumerating')
returning tries;

-- name: RunHold :execrows
-- RunHold notes that an enumeration waits in place until a time, and for what; without one that it goes on.
update sync_runs set waiting_until = sqlc.narg(waiting_until), waiting_for = sqlc.arg(waiting_for), error = sqlc.arg(error)
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and state = 'enumerating' and closed_at is null;

-- name: RunWorking :execrows
-- RunWorking notes that everything is enumerated. A run can be due by then: its syncer was taken for dead, and was not.
update sync_runs set state = 'working', items = sqlc.arg(items), duplicates = sqlc.arg(duplicates), error = sqlc.arg(error), heartbeat_at = sqlc.arg(now)
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and state in ('due', 'enumerating');

-- name: RunWaitingDue :many
-- RunWaitingDue locks waiting runs whose time has come.
select r.* from sync_runs r join integrations i on i.id = r.integration_id
where r.closed_at is null and r.state = 'waiting' and r.waiting_until <= sqlc.arg(now) and i.status = 'active'
  and r.id <> all(sqlc.arg(without)::uuid[])
order by r.waiting_until
limit sqlc.arg(most)
for update of r skip locked;

-- name: RunSilent :many
-- RunSilent finds open runs that nobody has touched for a while; whether they are alone is for the streams to say.
select r.* from sync_runs r join integrations i on i.id = r.integration_id
where r.closed_at is null and r.state <> 'waiting' and r.heartbeat_at < sqlc.arg(silent_since) and i.status = 'active'
  and r.provider = any(sqlc.arg(providers)::text[])
order by r.heartbeat_at
limit sqlc.arg(most);

-- name: RunStartedBefore :many
-- RunStartedBefore finds open runs that were opened, and whose newest attempt was asked for, up to a moment: what they had on its way then may be lost.
select r.* from sync_runs r join integrations i on i.id = r.integration_id
where r.closed_at is null and r.state <> 'waiting' and r.created_at <= sqlc.arg(moment) and i.status = 'active'
  and greatest(r.attempt, r.wake) <= next_fence(0, sqlc.arg(moment)) and r.provider = any(sqlc.arg(providers)::text[])
order by r.heartbeat_at
limit sqlc.arg(most);

-- name: RunWake :one
-- RunWake makes the run due again; the caller writes the due event in the same transaction, with the raised wake.
update sync_runs set state = 'due', wake = next_fence(wake, sqlc.arg(now))::integer, heartbeat_at = sqlc.arg(now), waiting_until = null,
    window_from = coalesce(sqlc.narg(window_from), window_from)
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and wake = sqlc.arg(wake) and closed_at is null
returning *;

-- name: RunTouch :exec
update sync_runs set heartbeat_at = sqlc.arg(now) where id = sqlc.arg(id) and closed_at is null;

-- name: RunFollowUp :exec
-- RunFollowUp remembers one sync for when the run closes; full wins.
update sync_runs set follow_up = case when follow_up = 'full' then 'full' else sqlc.arg(mode)::text end
where id = sqlc.arg(id) and closed_at is null;

-- name: RunFollowUpSince :exec
-- RunFollowUpSince remembers one sync from a time, the earliest that was asked for, for when the run closes; full wins.
update sync_runs set follow_up = coalesce(follow_up, 'incremental'), follow_up_since = least(follow_up_since, sqlc.arg(since)::timestamptz)
where id = sqlc.arg(id) and closed_at is null;

-- name: RunSetCursorFrom :exec
-- RunSetCursorFrom has a run that was just opened start from another point than the cursor.
update sync_runs set cursor_from = sqlc.arg(cursor_from)::text where id = sqlc.arg(id) and attempt = 0;

-- name: RunClose :one
update sync_runs set state = sqlc.arg(state), error = sqlc.arg(error), items = sqlc.arg(items), done = sqlc.arg(done), dead = sqlc.arg(dead),
    skipped = sqlc.arg(skipped), skip_reasons = sqlc.narg(skip_reasons), duplicates = sqlc.arg(duplicates), complete = sqlc.arg(complete), reduce_failed = sqlc.arg(reduce_failed), closed_at = sqlc.arg(now),
    resolved_at = sqlc.narg(resolved_at), resolution = sqlc.arg(resolution), waiting_until = null, waiting_for = ''
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and closed_at is null
returning *;

-- name: RunLost :one
-- RunLost notes once that an attempt lacks items. An open run closes as failed because of it; a run that has closed already fails now.
update sync_runs set lost = sqlc.arg(lost),
    state = case when closed_at is null then state else 'failed' end,
    error = case when closed_at is null then error else sqlc.arg(lost) end,
    complete = complete and closed_at is null
where id = sqlc.arg(id) and attempt = sqlc.arg(attempt) and lost = '' and (closed_at is null or state in ('succeeded', 'partial'))
returning *;

-- name: RunResolve :execrows
update sync_runs set resolved_at = sqlc.arg(now), resolution = sqlc.arg(resolution)
where id = sqlc.arg(id) and closed_at is not null and resolved_at is null;

-- name: RunSupersede :many
-- RunSupersede resolves the other closed runs that started from the same cursor as a run that has just closed whole: with one open run at a time they
-- are all older, whatever the clocks said.
update sync_runs set resolved_at = sqlc.arg(now), resolution = 'superseded'
where integration_id = sqlc.arg(integration_id) and id <> sqlc.arg(id) and closed_at is not null and resolved_at is null
  and cursor_version = sqlc.arg(cursor_version)
returning id;

-- name: RunResolvable :many
-- RunResolvable finds closed runs that wait for nothing any more: no unresolved dead item, and no open run of the integration.
select r.* from sync_runs r
where r.closed_at is not null and r.resolved_at is null and r.complete and not r.reduce_failed and r.provider = any(sqlc.arg(providers)::text[])
  and not exists (select 1 from dead_items d where d.run_id = r.id and d.status in ('open', 'redriving'))
  and not exists (select 1 from sync_runs o where o.integration_id = r.integration_id and o.closed_at is null)
order by r.closed_at
limit sqlc.arg(most);

-- name: RunResolvableNow :one
-- RunResolvableNow is one run, if it is as RunResolvable finds them.
select r.* from sync_runs r
where r.id = sqlc.arg(id) and r.closed_at is not null and r.resolved_at is null and r.complete and not r.reduce_failed and r.provider = any(sqlc.arg(providers)::text[])
  and not exists (select 1 from dead_items d where d.run_id = r.id and d.status in ('open', 'redriving'));

-- name: RunWithEntries :many
-- RunWithEntries finds closed runs whose bucket entries may still exist: those after a run, by when they were closed.
select * from sync_runs where closed_at < sqlc.arg(closed_before) and entries_freed_at is null
  and (closed_at, id) > (sqlc.arg(after_closed)::timestamptz, sqlc.arg(after_id)::uuid)
order by closed_at, id limit sqlc.arg(most);

-- name: RunEntriesFreed :exec
update sync_runs set entries_freed_at = sqlc.arg(now) where id = sqlc.arg(id);

-- name: RunIntegrations :many
-- RunIntegrations tells whose runs are; those that are gone are left out.
select id, integration_id, provider from sync_runs where id = any(sqlc.arg(ids)::uuid[]);

-- name: RunOpenIDs :many
select id from sync_runs where closed_at is null;

-- name: RunCountOpen :many
select provider, state, count(*) as runs from sync_runs where closed_at is null group by provider, state;

-- name: RunCheckpointInsertMany :copyfrom
insert into run_checkpoints (run_id, batch, item_index, checkpoint) values ($1, $2, $3, $4);

-- name: RunCheckpointList :many
-- RunCheckpointList returns what a closed run completed, late successes and skips included, in enumeration order.
select c.batch, c.item_index, c.checkpoint from run_checkpoints c where c.run_id = sqlc.arg(run_id)
union all
select d.batch, d.item_index, d.checkpoint from dead_items d
where d.run_id = sqlc.arg(run_id) and d.attempt = sqlc.arg(attempt) and d.status in ('resolved', 'skipped')
  and not exists (select 1 from run_checkpoints c where c.run_id = d.run_id and c.batch = d.batch and c.item_index = d.item_index)
order by 1, 2;

-- name: RunCheckpointDelete :exec
delete from run_checkpoints where run_id = any(sqlc.arg(run_ids)::uuid[]);

-- name: RunSetReduceFailed :execrows
-- RunSetReduceFailed keeps a closed run from being reduced again, or lets it.
update sync_runs set reduce_failed = sqlc.arg(reduce_failed), error = coalesce(nullif(sqlc.arg(error)::varchar, ''), error)
where integration_id = sqlc.arg(integration_id) and closed_at is not null and resolved_at is null
  and (sqlc.narg(id)::uuid is null or id = sqlc.narg(id)::uuid) and reduce_failed <> sqlc.arg(reduce_failed);

-- name: RunPrune :execrows
-- RunPrune deletes runs that were closed before a time and have nothing left to do, some at a time.
delete from sync_runs where id = any(array(
    select r.id from sync_runs r
    where r.closed_at < sqlc.arg(closed_before) and r.resolved_at is not null and r.entries_freed_at is not null
      and not exists (select 1 from dead_items d where d.run_id = r.id)
    order by r.closed_at limit sqlc.arg(most)));
