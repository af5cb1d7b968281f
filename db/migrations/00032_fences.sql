-- +goose Up
-- +goose StatementBegin
-- next_fence is the number after previous that fences newer work from older: at least the seconds since the start of 2026. NATS keeps numbers that a
-- database which went back to an earlier state has forgotten. Counted one by one, they would be issued a second time, and old messages taken for new ones.
create function next_fence(previous bigint, now timestamptz) returns bigint language sql immutable as $$
    select greatest(previous + 1, floor(extract(epoch from now - timestamptz '2026-01-01 00:00:00+00'))::bigint)
$$;
-- +goose StatementEnd

-- How many attempts were started. The attempt itself grows by more than one.
alter table sync_runs add column attempts integer not null default 1;
alter table sync_runs alter column attempts set default 0;
update sync_runs set attempts = attempt where attempt <> 1;
