-- name: DirectoryRow :one
-- DirectoryRow is an integration as the directory has it, credentials still sealed. That they are handed on is written down.
with stored as (
    select c.* from credentials c where c.integration_id = sqlc.arg(id)
), audited as (
    insert into secret_audit (id, at, integration_id, action, who, why, version, key_id)
    select sqlc.arg(audit_id), sqlc.arg(now), s.integration_id, 'read', 'scheduler', 'tell the webhook ingress', s.version, s.key_id from stored s
)
select i.id, i.provider, i.name, i.owner, i.status, i.metadata, i.version,
       coalesce(s.key_id, '')::text as key_id, coalesce(s.sealed, '')::bytea as sealed, coalesce(s.version, 0)::bigint as credentials_version
from integrations i left join stored s on s.integration_id = i.id
where i.id = sqlc.arg(id);

-- name: DirectoryVersions :many
select i.id, i.version, coalesce(c.version, 0)::bigint as credentials_version, coalesce(c.key_id, '')::text as key_id
from integrations i left join credentials c on c.integration_id = i.id;
