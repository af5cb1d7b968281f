-- +goose Up
-- What came of requests with an idempotency key, so that none is carried out twice.
create table idempotency_keys (
    integration_id uuid not null references integrations (id) on delete cascade,
    key            text not null,
    -- how many redirects led to the request, each of which is a request of its own
    hop            integer not null,
    provider       text not null,
    -- of the request; a key stands for one
    fingerprint    bytea not null,
    -- reserved: under way until lease_until · succeeded: answered, with the answer if it could be kept · failed: had no effect, so the key is free ·
    -- unknown: nobody knows whether it had an effect
    state          text not null check (state in ('reserved', 'succeeded', 'failed', 'unknown')),
    -- who reserved it last
    owner          uuid not null,
    lease_until    timestamptz not null,
    -- the first attempt's row in requests
    request_id     uuid,
    -- the answer, sealed
    key_id         text,
    sealed         bytea,
    error          text not null default '',
    resolved_by    text not null default '',
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    primary key (integration_id, key, hop)
);
create index idempotency_keys_age on idempotency_keys (updated_at);
create index idempotency_keys_open on idempotency_keys (integration_id, updated_at) where state in ('reserved', 'unknown');
