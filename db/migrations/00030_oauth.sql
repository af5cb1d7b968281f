-- +goose Up
-- Like paused, but it is the upstream that must be asked: nothing runs until the user has authorized again.
alter table integrations drop constraint integrations_status_check;
alter table integrations add constraint integrations_status_check check (status in ('active', 'paused', 'disabled', 'reauth-required'));

-- What a token-refresher knows of an integration's tokens, which themselves are among the credentials.
create table oauth_grants (
    integration_id      uuid primary key references integrations (id) on delete cascade,
    provider            text not null,
    -- missing: never connected · connected · uncertain: a refresh token was sent and what became of it is not known, to be tried once more ·
    -- reauth-required: the upstream has ended the grant · revoked: we have
    state               text not null check (state in ('missing', 'connected', 'uncertain', 'reauth-required', 'revoked')),
    -- names the tokens among the credentials without giving them away
    token_id            text not null default '',
    -- of the credentials that the row was made of; another one means that somebody else has written them
    credentials_version bigint not null,
    -- a new token can be asked for without the user
    refreshable         boolean not null,
    obtained_at         timestamptz,
    -- null: never, or not known
    expires_at          timestamptz,
    -- when a refresher turns to it; null: not by itself
    due_at              timestamptz,
    failures            integer not null default 0,
    reason              text not null default '',
    -- raised by whoever takes the lease, and by whatever replaces the grant: a write under an older fence is refused
    fence               bigint not null default 0,
    holder              text not null default '',
    leased_until        timestamptz,
    -- set before a refresh token is sent and cleared with what came of it, so that a crash in between can be told
    intent_at           timestamptz,
    updated_at          timestamptz not null
);
create index oauth_grants_due on oauth_grants (provider, due_at) where due_at is not null;

-- Authorizations under way, each for one use.
create table oauth_states (
    -- SHA-256 of the state that travels through the browser
    state_hash     bytea primary key,
    integration_id uuid not null references integrations (id) on delete cascade,
    provider       text not null,
    -- SHA-256 of the cookie of the browser that started
    browser_hash   bytea not null,
    -- the PKCE verifier, sealed to the state
    key_id         text not null,
    verifier       bytea not null,
    started_by     text not null default '',
    created_at     timestamptz not null,
    expires_at     timestamptz not null
);
create index oauth_states_expiry on oauth_states (expires_at);

-- Grants whose integration was deleted, to be revoked upstream.
create table oauth_revocations (
    integration_id uuid primary key,
    provider       text not null,
    name           text not null,
    owner          text not null,
    metadata       jsonb not null,
    key_id         text not null,
    sealed         bytea not null,
    failures       integer not null default 0,
    reason         text not null default '',
    due_at         timestamptz not null,
    created_at     timestamptz not null
);
create index oauth_revocations_due on oauth_revocations (provider, due_at);
