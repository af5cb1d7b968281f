-- +goose Up
-- The built-in sink: the newest version of every record.
create table records (
    integration_id uuid not null references integrations (id) on delete cascade,
    event_type     text not null,
    external_id    text not null,
    payload        jsonb not null,
    checkpoint     text,
    -- orders the versions of a record; compared byte by byte
    checkpoint_key text collate "C" not null default '',
    run_id         uuid not null,
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    primary key (integration_id, event_type, external_id)
);
