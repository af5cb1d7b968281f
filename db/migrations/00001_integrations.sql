-- +goose Up
create table integrations (
    id                        uuid primary key,
    provider                  text not null,
    name                      text not null unique,
    owner                     text not null default '',
    metadata                  jsonb not null default '{}',
    status                    text not null default 'active' check (status in ('active', 'paused', 'disabled')),
    status_reason             text not null default '',
    -- raised by every change that a running service must notice: metadata, credentials, status
    version                   bigint not null default 1,
    -- null: the provider's default
    sync_interval             interval,
    -- null: never scheduled
    next_sync_at              timestamptz,
    last_synced_at            timestamptz,
    consecutive_sync_failures integer not null default 0,
    stale_since               timestamptz,
    -- JSON kept byte for byte, hence text
    sync_cursor               text,
    cursor_version            bigint not null default 0,
    created_at                timestamptz not null,
    updated_at                timestamptz not null
);
create index integrations_due on integrations (next_sync_at) where status = 'active' and next_sync_at is not null;

create table credentials (
    integration_id uuid primary key references integrations (id) on delete cascade,
    key_id         text not null,
    sealed         bytea not null,
    version        bigint not null default 1,
    updated_at     timestamptz not null
);
