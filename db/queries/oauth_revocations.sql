-- name: RevocationInsert :execrows
-- RevocationInsert keeps what revoking takes, before an integration is deleted.
insert into oauth_revocations (integration_id, provider, name, owner, metadata, key_id, sealed, version, due_at, created_at)
select i.id, i.provider, i.name, i.owner, i.metadata, c.key_id, c.sealed, c.version, sqlc.arg(now), sqlc.arg(now)
from integrations i join credentials c on c.integration_id = i.id join oauth_grants g on g.integration_id = i.id
where i.id = sqlc.arg(integration_id) and g.state in ('connected', 'uncertain')
on conflict do nothing;

-- name: RevocationTakeDue :many
-- RevocationTakeDue puts off what it returns, so that nobody else takes it meanwhile.
update oauth_revocations r set due_at = sqlc.arg(until), failures = r.failures + 1
from (select o.integration_id from oauth_revocations o where o.provider = any(sqlc.arg(providers)::text[]) and o.due_at <= sqlc.arg(now)
      order by o.due_at limit sqlc.arg(most) for update skip locked) d
where r.integration_id = d.integration_id
returning r.*;

-- name: RevocationPutOff :exec
update oauth_revocations set due_at = sqlc.arg(due_at), reason = sqlc.arg(reason) where integration_id = sqlc.arg(integration_id);

-- name: RevocationDelete :execrows
delete from oauth_revocations where integration_id = sqlc.arg(integration_id);

-- name: RevocationStale :many
select integration_id, key_id, sealed, version from oauth_revocations
where key_id <> sqlc.arg(key_id) and integration_id > sqlc.arg(after) order by integration_id limit sqlc.arg(most) for update skip locked;

-- name: RevocationReseal :execrows
update oauth_revocations r set key_id = sqlc.arg(key_id), sealed = d.sealed
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(old_key_ids)::text[]) as old_key_id, unnest(sqlc.arg(sealed)::bytea[]) as sealed) d
where r.integration_id = d.id and r.key_id = d.old_key_id;
