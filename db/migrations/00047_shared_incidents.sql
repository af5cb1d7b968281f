-- +goose Up
-- An incident without an integration is of the whole installation: a store went back to an earlier state.
alter table incidents alter column integration_id drop not null;
