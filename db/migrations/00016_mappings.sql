-- +goose Up
-- Who the upstream says that the credentials belong to, as of a version of the credentials.
alter table integrations
    add column identity jsonb,
    add column identity_version bigint not null default 0;

-- Which record of the application an upstream's record is.
create table mappings (
    integration_id uuid not null references integrations (id) on delete cascade,
    -- the kind of record, as the application names it
    kind           text not null,
    external_id    text not null,
    internal_id    text not null,
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    primary key (integration_id, kind, external_id)
);
create index mappings_by_internal on mappings (integration_id, kind, internal_id);
