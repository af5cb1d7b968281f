-- +goose Up
-- One row that a scheduler moves each second and mirrors in NATS, so that a store that goes back to an earlier state is noticed.
create table mark (
    one   boolean primary key default true check (one),
    n     bigint not null,
    -- names this move, and prev the one before
    nonce uuid not null,
    prev  uuid not null,
    at    timestamptz not null
);
