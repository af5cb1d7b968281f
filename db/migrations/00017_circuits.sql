-- +goose Up
-- The last opening or closing of each circuit that was told of. The circuits themselves are a bucket of the broker's; what differs was not told yet, or was
-- lost there.
create table circuits (
    integration_id uuid primary key references integrations (id) on delete cascade,
    open           boolean not null,
    -- grows with every opening and closing
    transition     bigint not null,
    reason         text not null,
    since          timestamptz not null,
    until          timestamptz
);
create index circuits_open on circuits (integration_id) where open;
