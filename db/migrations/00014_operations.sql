-- +goose Up
-- The business log: what was done for an integration and how it ended, a row for each sync, webhook and the like.
create table operations (
    id             uuid primary key,
    integration_id uuid not null references integrations (id) on delete cascade,
    -- what was done: sync, webhook
    operation      text not null,
    direction      text not null check (direction in ('inbound', 'outbound')),
    status         text not null check (status in ('succeeded', 'partial', 'failed', 'cancelled')),
    -- the run, the delivery: what has the whole story
    subject        text not null,
    -- the upstream's id of what it is about; may be empty
    external_id    text not null default '',
    summary        text not null default '',
    details        jsonb not null default '{}',
    error          text not null default '',
    started_at     timestamptz not null,
    ended_at       timestamptz not null
);
create index operations_by_integration on operations (integration_id, ended_at desc);
create index operations_ended on operations (ended_at);
