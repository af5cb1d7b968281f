-- +goose Up
-- What deferred work waits for ('' for a back-off after a failure), and how often it was deferred in a row: the wait grows with that.
alter table sync_runs
    add column waiting_for text not null default '',
    add column deferrals integer not null default 0;
alter table webhooks
    add column waiting_for text not null default '',
    add column deferrals integer not null default 0;
create index webhooks_waiting on webhooks (integration_id, waiting_for) where status = 'pending' and waiting_for <> '';
