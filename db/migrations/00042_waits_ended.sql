-- +goose Up
-- What deferred work of an integration waited for until a time, and does not have to wait for any more. Schedulers bring that work forward, twice: what was being
-- deferred at that moment is found by the second pass.
create table waits_ended (
    integration_id uuid        not null references integrations (id) on delete cascade,
    cause          text        not null,
    at             timestamptz not null,
    passes         integer     not null default 0,
    primary key (integration_id, cause)
);
