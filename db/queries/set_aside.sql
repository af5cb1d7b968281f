-- name: SetAsideOfKind :many
-- SetAsideOfKind lists the elements of one kind of work that have failed: few, or none.
select * from set_aside where kind = sqlc.arg(kind);

-- name: SetAsideFail :one
-- SetAsideFail counts a failed try. It returns no row when the element was not due to be tried: another process has counted this failure.
insert into set_aside as s (id, kind, key, integration_id, about, tries, error, failed_first, failed_last, next_try_at, set_aside_at)
values (sqlc.arg(id), sqlc.arg(kind), sqlc.arg(key), sqlc.narg(integration_id), sqlc.arg(about), 1, sqlc.arg(error), sqlc.arg(now)::timestamptz, sqlc.arg(now)::timestamptz,
        sqlc.arg(now)::timestamptz + (sqlc.arg(waits)::interval[])[1], case when sqlc.arg(most_tries)::integer <= 1 then sqlc.arg(now)::timestamptz end)
on conflict (kind, key) do update set
    tries = s.tries + 1, error = excluded.error, failed_last = excluded.failed_last,
    next_try_at = excluded.failed_last + (sqlc.arg(waits)::interval[])[least(s.tries + 1, cardinality(sqlc.arg(waits)::interval[]))],
    set_aside_at = coalesce(s.set_aside_at, case when s.tries + 1 >= sqlc.arg(most_tries)::integer then excluded.failed_last end)
    where s.next_try_at <= excluded.failed_last and s.dropped_at is null
returning *;

-- name: SetAsideDone :one
-- SetAsideDone forgets an element that was done after all.
delete from set_aside where kind = sqlc.arg(kind) and key = sqlc.arg(key) returning *;

-- name: SetAsideGet :one
select * from set_aside where id = sqlc.arg(id);

-- name: SetAsideList :many
-- SetAsideList lists what is set aside, newest first: those before one, when it is given.
select * from set_aside
where (sqlc.arg(kind)::text = '' or kind = sqlc.arg(kind)::text)
  and (sqlc.arg(all_of_them)::boolean or set_aside_at is not null and dropped_at is null)
  and (sqlc.narg(before)::uuid is null or id < sqlc.narg(before)::uuid)
order by id desc
limit sqlc.arg(most);

-- name: SetAsideRetry :many
-- SetAsideRetry gives one element its tries again, or all that are set aside, of one kind or of any. They stay set aside until they are done.
update set_aside set tries = 0, next_try_at = sqlc.arg(now), dropped_at = null, dropped_by = '', drop_reason = ''
where case when sqlc.narg(id)::uuid is not null then id = sqlc.narg(id)::uuid
           else set_aside_at is not null and dropped_at is null and (sqlc.arg(kind)::text = '' or kind = sqlc.arg(kind)::text) end
returning *;

-- name: SetAsideDrop :one
-- SetAsideDrop has an element tried no more.
update set_aside set dropped_at = sqlc.arg(now)::timestamptz, dropped_by = sqlc.arg(dropped_by), drop_reason = sqlc.arg(drop_reason)
where id = sqlc.arg(id) and dropped_at is null
returning *;

-- name: SetAsideCount :many
select kind, count(*) as elements from set_aside where set_aside_at is not null and dropped_at is null group by kind;

-- name: SetAsideForget :many
-- SetAsideForget deletes what was not tried again long after its time, because the work is no longer there, and what was dropped long ago.
-- A reducer that ends its process is not tried, but remembered for as long as it has an integration.
delete from set_aside a
where case when a.kind = 'reduce' and coalesce(a.set_aside_at, a.dropped_at) is not null
           then not exists (select 1 from integrations i where i.id = a.integration_id)
           else a.dropped_at is null and a.next_try_at < sqlc.arg(next_try_before)::timestamptz or a.dropped_at < sqlc.arg(dropped_before)::timestamptz end
returning *;
