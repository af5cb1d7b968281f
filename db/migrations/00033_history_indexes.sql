-- +goose NO TRANSACTION
-- +goose Up
-- Indexes without which lists and pruning read whole tables. They are built beside running services, which neither wait nor are refused meanwhile. A build
-- that was cut off leaves an invalid index, hence each is dropped first.
drop index concurrently if exists sync_runs_by_age;
create index concurrently sync_runs_by_age on sync_runs (created_at, id);
drop index concurrently if exists sync_runs_prunable;
create index concurrently sync_runs_prunable on sync_runs (closed_at) where resolved_at is not null and entries_freed_at is not null;
drop index concurrently if exists dead_items_by_age;
create index concurrently dead_items_by_age on dead_items (created_at, batch, item_index, id);
drop index concurrently if exists dead_items_by_integration;
create index concurrently dead_items_by_integration on dead_items (integration_id, created_at, batch, item_index, id);
drop index concurrently if exists dead_items_unresolved_by_run;
create index concurrently dead_items_unresolved_by_run on dead_items (run_id) where status in ('open', 'redriving');
drop index concurrently if exists dead_items_settled;
create index concurrently dead_items_settled on dead_items (updated_at) where status in ('resolved', 'skipped', 'superseded');
drop index concurrently if exists idempotency_keys_by_key;
create index concurrently idempotency_keys_by_key on idempotency_keys (key);
drop index concurrently if exists outbox_by_subject;
create index concurrently outbox_by_subject on outbox (subject);
-- With the integration in front, this index was taken for questions by external id.
drop index concurrently if exists mappings_by_internal_id;
create index concurrently mappings_by_internal_id on mappings (internal_id, kind, integration_id);
drop index concurrently if exists mappings_by_internal;
drop index concurrently if exists webhooks_suspect;
create index concurrently webhooks_suspect on webhooks (next_try_at) where status = 'pending' and crashes > 0;
drop index concurrently if exists webhooks_by_status;
create index concurrently webhooks_by_status on webhooks (status, id) where status <> 'processed';
drop index concurrently if exists idempotency_keys_settled;
create index concurrently idempotency_keys_settled on idempotency_keys (updated_at) where state in ('succeeded', 'failed');

-- The day is read from the names of partitions alone, in whichever order the query's conditions are evaluated.
-- +goose StatementBegin
create or replace function requests_days() returns setof date language sql stable as $$
    select case when c.relname ~ '^requests_[0-9]{8}$' then to_date(right(c.relname::text, 8), 'YYYYMMDD') end
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'requests'::regclass order by 1
$$;
-- +goose StatementEnd
