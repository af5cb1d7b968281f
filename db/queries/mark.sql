-- name: MarkGet :one
select n, nonce, prev, at from mark;

-- name: MarkBegin :exec
insert into mark (n, nonce, prev, at) values (1, sqlc.arg(nonce), sqlc.arg(nonce), sqlc.arg(now)) on conflict do nothing;

-- name: MarkMove :one
-- MarkMove moves the mark from where its mirror is. No row means that it is elsewhere.
update mark set n = n + 1, prev = nonce, nonce = sqlc.arg(nonce), at = sqlc.arg(now)
where n = sqlc.arg(n) and nonce = sqlc.arg(mirrored)
returning n, nonce, prev, at;
