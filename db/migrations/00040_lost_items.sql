-- +goose Up
-- Why an attempt of this run is known to lack items that its provider had handed over. Such a run closes as failed, and its cursor stays.
alter table sync_runs add column lost text not null default '';
