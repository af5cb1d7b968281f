-- name: AnswerList :many
-- AnswerList returns the variants of an answer that are still kept.
select * from cached_answers where key = sqlc.arg(key) and keep_until > sqlc.arg(now) order by stored_at desc limit 16;

-- name: AnswerPut :exec
insert into cached_answers (key, variant, vary, key_id, sealed, stored_at, fresh_until, keep_until)
values (sqlc.arg(key), sqlc.arg(variant), sqlc.arg(vary)::text[], sqlc.arg(key_id), sqlc.arg(sealed), sqlc.arg(stored_at), sqlc.arg(fresh_until), sqlc.arg(keep_until))
on conflict (key, variant) do update set vary = excluded.vary, key_id = excluded.key_id, sealed = excluded.sealed, stored_at = excluded.stored_at,
    fresh_until = excluded.fresh_until, keep_until = excluded.keep_until;

-- name: AnswerPrune :execrows
delete from cached_answers where ctid = any(array(
    select o.ctid from cached_answers o where o.keep_until < sqlc.arg(now) order by o.keep_until limit sqlc.arg(most)));
