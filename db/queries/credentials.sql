-- name: CredentialsGet :one
select * from credentials where integration_id = sqlc.arg(integration_id);

-- name: CredentialsPut :execrows
-- CredentialsPut is a compare-and-set on the version: 0 inserts, else the stored version must be the given one.
insert into credentials (integration_id, key_id, sealed, version, updated_at)
values (sqlc.arg(integration_id), sqlc.arg(key_id), sqlc.arg(sealed), 1, sqlc.arg(now))
on conflict (integration_id) do update
    set key_id = excluded.key_id, sealed = excluded.sealed, version = credentials.version + 1, updated_at = excluded.updated_at
    where credentials.version = sqlc.arg(version)::bigint;
