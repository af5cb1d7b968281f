-- +goose Up
-- The version of the credentials that were copied: they are sealed together with it. Rows from before are sealed without.
alter table oauth_revocations add column version bigint not null default 0;
