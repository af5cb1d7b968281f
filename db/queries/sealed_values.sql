-- name: SealedCountByKey :many
-- SealedCountByKey counts all that each key has sealed, but for cached answers, whose loss costs a request each.
select s.key_id::text as key_id, sum(s.sealed)::bigint as sealed from (
    select key_id, count(*) as sealed from credentials group by key_id
    union all select key_id, count(*) from oauth_revocations group by key_id
    union all select key_id, count(*) from oauth_states where expires_at > sqlc.arg(now)::timestamptz group by key_id
    union all select key_id, count(*) from webhooks where key_id <> '' group by key_id
    union all select key_id, count(*) from idempotency_keys where key_id is not null group by key_id
) s group by s.key_id order by s.key_id;

-- name: WebhookStale :many
-- WebhookStale locks webhooks of which another key than the given one has sealed something, beginning after one.
select id, key_id, sealed from webhooks
where key_id <> '' and key_id <> sqlc.arg(key_id) and id > sqlc.arg(after) order by id limit sqlc.arg(most) for update skip locked;

-- name: WebhookReseal :execrows
update webhooks w set key_id = sqlc.arg(key_id), sealed = d.sealed
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(old_key_ids)::text[]) as old_key_id, unnest(sqlc.arg(sealed)::bytea[]) as sealed) d
where w.id = d.id and w.key_id = d.old_key_id;

-- name: KeyStale :many
-- KeyStale locks idempotency keys whose answer another key than the given one has sealed, beginning after one.
select integration_id, key, hop, key_id::text as key_id, sealed from idempotency_keys
where key_id is not null and key_id <> sqlc.arg(key_id)::text
  and (integration_id, key, hop) > (sqlc.arg(after_integration)::uuid, sqlc.arg(after_key)::text, sqlc.arg(after_hop)::integer)
order by integration_id, key, hop limit sqlc.arg(most) for update skip locked;

-- name: KeyReseal :execrows
update idempotency_keys k set key_id = sqlc.arg(key_id)::text, sealed = d.sealed
from (select unnest(sqlc.arg(integrations)::uuid[]) as integration_id, unnest(sqlc.arg(keys)::text[]) as key, unnest(sqlc.arg(hops)::integer[]) as hop,
             unnest(sqlc.arg(old_key_ids)::text[]) as old_key_id, unnest(sqlc.arg(sealed)::bytea[]) as sealed) d
where k.integration_id = d.integration_id and k.key = d.key and k.hop = d.hop and k.key_id = d.old_key_id;

-- name: AnswerKeys :many
-- AnswerKeys tells by which keys some cached answers are sealed, beginning after one.
select key, variant, key_id from cached_answers
where (key, variant) > (sqlc.arg(after_key)::bytea, sqlc.arg(after_variant)::bytea) order by key, variant limit sqlc.arg(most);

-- name: AnswerDrop :exec
-- AnswerDrop drops cached answers, but for those that the given key has sealed meanwhile: each costs a request, and no more.
delete from cached_answers a
using (select unnest(sqlc.arg(keys)::bytea[]) as key, unnest(sqlc.arg(variants)::bytea[]) as variant) d
where a.key = d.key and a.variant = d.variant and a.key_id <> sqlc.arg(key_id);
