-- +goose Up
-- Answers that callers asked to be kept. Losing them costs a request each, so they are not worth a log that survives a crash.
create unlogged table cached_answers (
    -- of integration, credentials, method and URL
    key         bytea not null,
    -- of the request headers that the answer depends on
    variant     bytea not null,
    -- their names
    vary        text[] not null,
    -- status, header and body, sealed
    key_id      text not null,
    sealed      bytea not null,
    stored_at   timestamptz not null,
    fresh_until timestamptz not null,
    keep_until  timestamptz not null,
    primary key (key, variant)
);
create index cached_answers_keep on cached_answers (keep_until);
