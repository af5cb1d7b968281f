-- +goose Up
-- What upstreams have sent: verified, and stored here before the broker forgets it. From then on the row is the truth.
create table webhooks (
    -- made by the ingress; sorts by the time of reception
    id             uuid primary key,
    integration_id uuid not null references integrations (id) on delete cascade,
    provider       text not null,
    -- the upstream's id of the delivery, or the hash that stands in for it
    delivery_id    text not null,
    -- tells deliveries of the same content apart that have no id: when they were received, in microseconds; else 0
    copy           bigint not null default 0,
    event_type     text not null default '',
    -- deliveries with the same one are handled in the order of their ids; empty for none
    ordering_key   text not null default '',
    -- the message's place in the stream: what is before it may still be on its way here
    sequence       bigint not null,
    method         text not null,
    path           text not null,
    -- query and headers as they may be shown; *** stands for what is sealed
    query          text not null,
    headers        jsonb not null,
    body           bytea not null,
    key_id         text not null default '',
    sealed         bytea not null default '',
    status         text not null default 'pending' check (status in ('pending', 'processing', 'processed', 'ignored', 'failed', 'skipped')),
    -- counts claims, and fences what an earlier claimant still does
    attempt        integer not null default 0,
    -- tries that failed; deferrals don't count
    tries          integer not null default 0,
    -- claims that ended with their worker's life
    crashes        integer not null default 0,
    replays        integer not null default 0,
    next_try_at    timestamptz not null,
    -- while processing: until when the claimant counts as alive
    lease_until    timestamptz,
    -- deferrals end a window after this
    window_from    timestamptz,
    reason         text not null default '',
    error          text not null default '',
    -- what the handler returned
    result         jsonb,
    resolved_by    text not null default '',
    received_at    timestamptz not null,
    stored_at      timestamptz not null,
    started_at     timestamptz,
    finished_at    timestamptz,
    unique (integration_id, delivery_id, copy)
);
create index webhooks_pending on webhooks (next_try_at) where status = 'pending';
create index webhooks_processing on webhooks (lease_until) where status = 'processing';
create index webhooks_ordered on webhooks (integration_id, ordering_key, id) where status in ('pending', 'processing') and ordering_key <> '';
create index webhooks_failed on webhooks (integration_id, id) where status = 'failed';
create index webhooks_by_integration on webhooks (integration_id, id);
create index webhooks_finished on webhooks (received_at) where status in ('processed', 'ignored', 'failed', 'skipped');

-- When an integration got its last webhook, and since when it has got none for too long.
create table webhook_sources (
    integration_id   uuid primary key references integrations (id) on delete cascade,
    last_received_at timestamptz not null,
    silent_since     timestamptz
);

-- A sync that was asked for while a run was open, from a time before the cursor.
alter table sync_runs add column follow_up_since timestamptz;
