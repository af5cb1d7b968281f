-- +goose Up
-- Event types for which an item-worker has, or had, a handler. A worker without one does not take such an event for one that nobody handles.
create table handled_types (
    provider   text not null,
    -- item for handlers of the application's, webhook for those of a provider.
    kind       text not null,
    event_type text not null,
    since      timestamptz not null,
    -- When a worker last announced that it has the handler, to the minute.
    seen_at    timestamptz not null,
    primary key (provider, kind, event_type)
);
