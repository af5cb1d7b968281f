-- +goose Up
-- What bounds how often a grant is refreshed. All are 0 or null again after a refresh that brought a token of some life.
alter table oauth_grants
    -- since when the upstream refuses to refresh
    add column refused_since timestamptz,
    -- answers in a row that never came, each of which may have spent the refresh token
    add column lost integer not null default 0,
    -- tokens in a row that ended on arrival, or soon after
    add column brief integer not null default 0;
