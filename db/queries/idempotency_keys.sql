-- name: KeyReserve :one
-- KeyReserve takes a key that is new or free. Where the upstream recognises keys, it also takes over one of which nobody knows what came of it,
-- for the same request. No row means that somebody has it. Previous is the owner that it had before.
with before as (
    select b.owner from idempotency_keys b where b.integration_id = sqlc.arg(integration_id) and b.key = sqlc.arg(key) and b.hop = sqlc.arg(hop)
)
insert into idempotency_keys as k (integration_id, key, hop, provider, fingerprint, state, owner, lease_until, created_at, updated_at)
values (sqlc.arg(integration_id), sqlc.arg(key), sqlc.arg(hop), sqlc.arg(provider), sqlc.arg(fingerprint), 'reserved', sqlc.arg(owner), sqlc.arg(lease_until), sqlc.arg(now), sqlc.arg(now))
on conflict (integration_id, key, hop) do update
    set state = 'reserved', fingerprint = excluded.fingerprint, owner = excluded.owner, lease_until = excluded.lease_until, updated_at = excluded.updated_at,
        key_id = null, sealed = null, error = '', resolved_by = ''
    where k.state = 'failed'
       or (sqlc.arg(deduped)::boolean and k.fingerprint = excluded.fingerprint
           and (k.state = 'unknown' or (k.state = 'reserved' and k.lease_until < sqlc.arg(now))))
returning k.owner, coalesce((select before.owner from before), '00000000-0000-0000-0000-000000000000')::uuid as previous;

-- name: KeyGet :one
select * from idempotency_keys where integration_id = sqlc.arg(integration_id) and key = sqlc.arg(key) and hop = sqlc.arg(hop);

-- name: KeyExpire :execrows
-- KeyExpire gives up on a request whose lease has run out.
update idempotency_keys set state = 'unknown', error = 'its lease ran out before anything was heard of it', updated_at = sqlc.arg(now)
where integration_id = sqlc.arg(integration_id) and key = sqlc.arg(key) and hop = sqlc.arg(hop) and state = 'reserved' and lease_until < sqlc.arg(now);

-- name: KeyExpireAll :many
-- KeyExpireAll gives up on all requests whose lease has run out.
update idempotency_keys set state = 'unknown', error = 'its lease ran out before anything was heard of it', updated_at = sqlc.arg(now)
where (integration_id, key, hop) in (
    select o.integration_id, o.key, o.hop from idempotency_keys o where o.state = 'reserved' and o.lease_until < sqlc.arg(now) limit sqlc.arg(most) for update skip locked)
returning provider;

-- name: KeySettle :execrows
-- KeySettle writes what came of a request, if the key is still the owner's.
update idempotency_keys set state = sqlc.arg(state), request_id = sqlc.narg(request_id), key_id = sqlc.narg(key_id), sealed = sqlc.narg(sealed), error = sqlc.arg(error),
    updated_at = sqlc.arg(now)
where integration_id = sqlc.arg(integration_id) and key = sqlc.arg(key) and hop = sqlc.arg(hop) and owner = sqlc.arg(owner)
  and state in ('reserved', 'unknown') and resolved_by = '';

-- name: KeyResolve :many
-- KeyResolve writes what somebody found out about a key, of all requests that it had. A request that is under way is left alone.
update idempotency_keys set state = sqlc.arg(state), resolved_by = sqlc.arg(resolved_by), error = sqlc.arg(note), updated_at = sqlc.arg(now)
where integration_id = sqlc.arg(integration_id) and key = sqlc.arg(key)
  and (state = 'unknown' or (state = 'reserved' and lease_until < sqlc.arg(now)))
returning hop;

-- name: KeyList :many
-- KeyList lists keys, the last changed first.
select integration_id, key, hop, provider, state, lease_until, request_id, (sealed is not null)::boolean as recoverable, left(error, 400)::text as error, resolved_by, created_at, updated_at
from idempotency_keys
where (sqlc.narg(integration_id)::uuid is null or integration_id = sqlc.narg(integration_id)::uuid)
  and (sqlc.arg(key)::text = '' or key = sqlc.arg(key)::text)
  and (sqlc.arg(all_of_them)::boolean or state = 'unknown' or (state = 'reserved' and lease_until < sqlc.arg(now)))
order by updated_at desc, key, hop
limit sqlc.arg(most) offset sqlc.arg(skip);

-- name: KeyCountUnknown :many
select provider, count(*) as keys from idempotency_keys where state = 'unknown' group by provider;

-- name: KeyPrune :execrows
-- KeyPrune forgets keys that were last changed before a time, some at a time. One of which nobody knows the outcome is kept until somebody has found out.
delete from idempotency_keys where ctid = any(array(
    select o.ctid from idempotency_keys o where o.updated_at < sqlc.arg(changed_before) and o.state in ('succeeded', 'failed')
    order by o.updated_at limit sqlc.arg(most) for update skip locked));
