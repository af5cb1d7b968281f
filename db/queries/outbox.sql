-- name: OutboxInsertMany :exec
insert into outbox (id, subject, msg_id, headers, body, created_at)
select unnest(sqlc.arg(ids)::uuid[]), unnest(sqlc.arg(subjects)::text[]), unnest(sqlc.arg(msg_ids)::text[]),
       unnest(sqlc.arg(headers)::jsonb[]), unnest(sqlc.arg(bodies)::bytea[]), sqlc.arg(now);

-- name: OutboxClaim :many
-- OutboxClaim locks the oldest rows; they are deleted, in the same transaction, once the broker has stored them. Rows for parts of the bus that are away, and
-- rows that the broker has refused and that wait for their next try, take no other's place. While a message has tries left, later ones on its subject wait.
select o.* from outbox o
where split_part(o.subject, '.', 2) <> all (sqlc.arg(away)::text[])
  and not exists (select 1 from set_aside a where a.kind = 'message' and a.key = o.id::text
                  and (a.next_try_at > sqlc.arg(now)::timestamptz or a.dropped_at is not null))
  and not exists (select 1 from set_aside a where a.kind = 'message' and a.about = o.subject and a.key < o.id::text
                  and a.set_aside_at is null and a.dropped_at is null)
order by o.id limit sqlc.arg(most) for update of o skip locked;

-- name: OutboxBehind :many
-- OutboxBehind returns the subjects of claimed rows that have an older row which was not claimed: another process publishes that just now, or was about to. The newest is the
-- newest of the claimed ids.
select distinct o.subject from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(subjects)::text[]) as subject) c
join outbox o on o.id < sqlc.arg(newest)::uuid and o.id < c.id and o.subject = c.subject and o.id <> all (sqlc.arg(ids)::uuid[])
where not exists (select 1 from set_aside a where a.kind = 'message' and a.key = o.id::text and (a.set_aside_at is not null or a.dropped_at is not null));

-- name: OutboxDelete :many
-- OutboxDelete deletes what the broker has stored, and returns what of it was refused before.
with stored as (
    delete from outbox where id = any(sqlc.arg(ids)::uuid[]) returning id
)
select a.key from set_aside a join stored s on a.key = s.id::text where a.kind = 'message';

-- name: OutboxDrop :execrows
-- OutboxDrop deletes a message that is never to be published.
delete from outbox where id = sqlc.arg(id);

-- name: OutboxLag :one
-- OutboxLag tells how many rows wait and since when, without those that are set aside.
select count(*) as rows_waiting, min(created_at)::timestamptz as oldest from outbox o
where not exists (select 1 from set_aside a where a.kind = 'message' and a.key = o.id::text and a.set_aside_at is not null)
having count(*) > 0;

-- name: OutboxHasDue :one
-- OutboxHasDue tells whether anything is still to be published on a subject.
select exists (select 1 from outbox where subject = sqlc.arg(subject));

-- name: CommandDone :execrows
-- CommandDone notes a command as carried out, in the transaction that does so; no row means that it was before.
insert into commands_done (id, done_at) values (sqlc.arg(id), sqlc.arg(now)) on conflict do nothing;

-- name: CommandDoneAt :one
-- CommandDoneAt tells when a command was carried out, or when it was rejected under its other id.
select done_at from commands_done where id = any(sqlc.arg(ids)::text[]) order by done_at limit 1;

-- name: CommandForget :execrows
-- CommandForget forgets commands that were carried out before a time, some at a time.
delete from commands_done where id = any(array(
    select c.id from commands_done c where c.done_at < sqlc.arg(done_before) order by c.done_at limit sqlc.arg(most)));

-- name: CommitBarrier :exec
-- CommitBarrier has a transaction write something to the log of changes, and to no table: a commit that has written nothing waits for no standby.
select pg_logical_emit_message(true, 'tributary', '');
