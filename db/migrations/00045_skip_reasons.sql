-- +goose Up
-- Why handlers and operators skipped items of a run that has closed: [{"reason": text, "items": number}], null where nobody gave a reason.
alter table sync_runs add column skip_reasons jsonb;
