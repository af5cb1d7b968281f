-- name: CredentialsRead :one
-- CredentialsRead reads credentials and writes down who has, and why.
with stored as (
    select c.* from credentials c where c.integration_id = sqlc.arg(integration_id)
), audited as (
    insert into secret_audit (id, at, integration_id, action, who, why, version, key_id)
    select sqlc.arg(audit_id), sqlc.arg(now), s.integration_id, 'read', sqlc.arg(who), sqlc.arg(why), s.version, s.key_id from stored s
)
select integration_id, key_id, sealed, version from stored;

-- name: CredentialsPut :one
-- CredentialsPut is a compare-and-set on the version: 0 inserts, else the stored version must be the given one. The caller gives the next version, which is sealed
-- together with what it says. It writes down who has, and why; no row means that somebody else was first.
with stored as (
    insert into credentials (integration_id, key_id, sealed, version, updated_at)
    values (sqlc.arg(integration_id), sqlc.arg(key_id), sqlc.arg(sealed), sqlc.arg(next)::bigint, sqlc.arg(now))
    on conflict (integration_id) do update
        set key_id = excluded.key_id, sealed = excluded.sealed, version = excluded.version, updated_at = excluded.updated_at
        where credentials.version = sqlc.arg(version)::bigint
    returning integration_id, key_id, version
), audited as (
    insert into secret_audit (id, at, integration_id, action, who, why, version, key_id)
    select sqlc.arg(audit_id), sqlc.arg(now), s.integration_id, 'write', sqlc.arg(who), sqlc.arg(why), s.version, s.key_id from stored s
)
select version from stored;

-- name: CredentialsStale :many
-- CredentialsStale locks credentials that another key than the given one has sealed, beginning after an integration.
select integration_id, key_id, sealed, version from credentials
where key_id <> sqlc.arg(key_id) and integration_id > sqlc.arg(after) order by integration_id limit sqlc.arg(most) for update skip locked;

-- name: CredentialsReseal :execrows
-- CredentialsReseal replaces how credentials are sealed; what they say, and with it their version, stays.
with resealed as (
    update credentials c set key_id = sqlc.arg(key_id), sealed = d.sealed
    from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(versions)::bigint[]) as version, unnest(sqlc.arg(sealed)::bytea[]) as sealed) d
    where c.integration_id = d.id and c.version = d.version
    returning c.integration_id, c.version
)
insert into secret_audit (id, at, integration_id, action, who, why, version, key_id)
select a.audit_id, sqlc.arg(now), r.integration_id, 'reseal', sqlc.arg(who), sqlc.arg(why), r.version, sqlc.arg(key_id)
from resealed r
join (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(audit_ids)::uuid[]) as audit_id) a on a.id = r.integration_id;

-- name: CredentialsVersion :one
-- CredentialsVersion tells a change of credentials without reading them.
select version from credentials where integration_id = sqlc.arg(integration_id);

-- name: CredentialsVersions :many
-- CredentialsVersions tells changes of credentials of some providers' integrations without reading them.
select c.integration_id, c.version from credentials c join integrations i on i.id = c.integration_id
where c.integration_id = any(sqlc.arg(ids)::uuid[]) and i.provider = any(sqlc.arg(providers)::text[]);

-- name: CredentialsOfOtherKeys :one
-- CredentialsOfOtherKeys finds credentials that none of some keys has sealed.
select integration_id, key_id from credentials where key_id <> all(sqlc.arg(key_ids)::text[]) limit 1;
