-- +goose Up
-- Who has read and written credentials, and why. It outlives the integrations.
create table secret_audit (
    id             uuid primary key,
    at             timestamptz not null,
    integration_id uuid not null,
    action         text not null check (action in ('read', 'write', 'reseal')),
    who            text not null,
    why            text not null,
    version        bigint not null,
    key_id         text not null
);
create index secret_audit_by_integration on secret_audit (integration_id, id desc);
create index secret_audit_age on secret_audit (at);
create index credentials_by_key on credentials (key_id, integration_id);
