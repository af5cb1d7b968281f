-- +goose Up
-- Links that were opened, until they expire: each belongs to the browser that opened it first, and ends with the authorization.
create table oauth_links (
    -- SHA-256 of the link's signature
    link_hash    bytea primary key,
    -- SHA-256 of the cookie of the browser that opened it
    browser_hash bytea not null,
    done         boolean not null default false,
    expires_at   timestamptz not null
);
create index oauth_links_expiry on oauth_links (expires_at);
-- the link that an authorization began with; null where it was not noted
alter table oauth_states add column link_hash bytea;
