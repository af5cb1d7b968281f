-- name: MappingEnsure :one
-- MappingEnsure makes a mapping unless there is one, and returns the one that there is. It returns none when another was made at the very moment; then it
-- is to be asked again.
with made as (
    insert into mappings (integration_id, kind, external_id, internal_id, created_at, updated_at)
    values (sqlc.arg(integration_id), sqlc.arg(kind), sqlc.arg(external_id), sqlc.arg(internal_id), sqlc.arg(now), sqlc.arg(now))
    on conflict do nothing
    returning internal_id
)
select internal_id, true as is_new from made
union all
select m.internal_id, false from mappings m
where m.integration_id = sqlc.arg(integration_id) and m.kind = sqlc.arg(kind) and m.external_id = sqlc.arg(external_id)
limit 1;

-- name: MappingRemap :one
-- MappingRemap has an external id lead to another internal id, if it leads to the expected one or nowhere, and returns where it leads then. It returns none as
-- MappingEnsure does.
with moved as (
    insert into mappings as m (integration_id, kind, external_id, internal_id, created_at, updated_at)
    values (sqlc.arg(integration_id), sqlc.arg(kind), sqlc.arg(external_id), sqlc.arg(internal_id), sqlc.arg(now), sqlc.arg(now))
    on conflict (integration_id, kind, external_id) do update set internal_id = excluded.internal_id, updated_at = excluded.updated_at
        where m.internal_id in (sqlc.arg(expected), excluded.internal_id)
    returning m.internal_id
)
select internal_id from moved
union all
select m.internal_id from mappings m
where m.integration_id = sqlc.arg(integration_id) and m.kind = sqlc.arg(kind) and m.external_id = sqlc.arg(external_id) and not exists (select 1 from moved)
limit 1;

-- name: MappingRelease :execrows
delete from mappings
where integration_id = sqlc.arg(integration_id) and kind = sqlc.arg(kind) and external_id = sqlc.arg(external_id) and internal_id = sqlc.arg(internal_id);

-- name: MappingResolve :many
select m.external_id, m.internal_id from (select distinct unnest(sqlc.arg(external_ids)::text[]) as id) e cross join lateral (
    select o.external_id, o.internal_id from mappings o
    where o.integration_id = sqlc.arg(integration_id) and o.kind = sqlc.arg(kind) and o.external_id = e.id limit 1) m;

-- name: MappingFind :many
select m.external_id, m.internal_id from (select distinct unnest(sqlc.arg(internal_ids)::text[]) as id) e cross join lateral (
    select o.external_id, o.internal_id from mappings o
    where o.integration_id = sqlc.arg(integration_id) and o.kind = sqlc.arg(kind) and o.internal_id = e.id offset 0) m
order by m.internal_id, m.external_id;
