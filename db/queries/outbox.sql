-- name: OutboxInsertMany :exec
insert into outbox (id, subject, msg_id, headers, body, created_at)
select unnest(sqlc.arg(ids)::uuid[]), unnest(sqlc.arg(subjects)::text[]), unnest(sqlc.arg(msg_ids)::text[]),
       unnest(sqlc.arg(headers)::jsonb[]), unnest(sqlc.arg(bodies)::bytea[]), sqlc.arg(now);

-- name: OutboxClaim :many
-- OutboxClaim locks the oldest rows; they are deleted, in the same transaction, once the broker has stored them.
select * from outbox order by id limit sqlc.arg(most) for update skip locked;

-- name: OutboxDelete :exec
delete from outbox where id = any(sqlc.arg(ids)::uuid[]);

-- name: OutboxLag :one
-- OutboxLag tells how many rows wait and since when.
select count(*) as rows_waiting, min(created_at)::timestamptz as oldest from outbox having count(*) > 0;

-- name: OutboxHasDue :one
-- OutboxHasDue tells whether anything is still to be published on a subject.
select exists (select 1 from outbox where subject = sqlc.arg(subject));

-- name: CommandDone :execrows
-- CommandDone notes a command as carried out, in the transaction that does so; no row means that it was before.
insert into commands_done (id, done_at) values (sqlc.arg(id), sqlc.arg(now)) on conflict do nothing;

-- name: CommandForget :execrows
-- CommandForget forgets commands that were carried out before a time, some at a time.
delete from commands_done where id = any(array(
    select c.id from commands_done c where c.done_at < sqlc.arg(done_before) order by c.done_at limit sqlc.arg(most)));
