-- +goose Up
-- Work that could not be done, so that the rest can proceed: an element of a sweep, or a message that the broker refuses.
create table set_aside (
    id             uuid primary key,
    -- what kind of work it is, and the element that it is about
    kind           text not null,
    key            text not null,
    integration_id uuid,
    -- what people and the relay know the element by: a message's subject, or the provider
    about          text not null default '',
    tries          integer not null,
    error          text not null,
    -- when it failed first, and last
    failed_first   timestamptz not null,
    failed_last    timestamptz not null,
    -- not tried before
    next_try_at    timestamptz not null,
    -- null while its first few tries go on
    set_aside_at   timestamptz,
    -- an operator wants it tried no more
    dropped_at     timestamptz,
    dropped_by     text not null default '',
    drop_reason    text not null default '',
    unique (kind, key)
);
create index set_aside_failing on set_aside (kind, about) where set_aside_at is null and dropped_at is null;
