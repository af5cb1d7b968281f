-- +goose Up
create table sync_runs (
    id             uuid primary key,
    integration_id uuid not null references integrations (id) on delete cascade,
    provider       text not null,
    mode           text not null check (mode in ('full', 'incremental')),
    cause          text not null check (cause in ('schedule', 'command')),
    -- due: to be enumerated · enumerating · waiting: for waiting_until, or without a time for a resume ·
    -- working: enumerated, items under way · the rest are closed
    state          text not null check (state in ('due', 'enumerating', 'waiting', 'working',
                                                  'succeeded', 'partial', 'failed', 'cancelled')),
    -- fences all that the run produces; only grows
    attempt        integer not null default 0,
    -- part of the due event's message id; raised in the transaction that writes one
    wake           integer not null default 1,
    -- enumerations that count against the limit; a deferral gives its own back
    tries          integer not null default 0,
    waiting_until  timestamptz,
    -- the window for enumerations counts from here; a resume starts it afresh
    window_from    timestamptz not null,
    heartbeat_at   timestamptz not null,
    -- where the run starts from, and the version that the cursor had then
    cursor_from    text,
    cursor_version bigint not null,
    -- the one sync that was asked for while this run was open
    follow_up      text check (follow_up in ('full', 'incremental')),
    error          text not null default '',
    items          bigint not null default 0,
    done           bigint not null default 0,
    dead           bigint not null default 0,
    skipped        bigint not null default 0,
    duplicates     bigint not null default 0,
    -- the W3C traceparent under which the run was opened, so that its close belongs to the same trace
    trace          text not null default '',
    created_at     timestamptz not null,
    closed_at      timestamptz,
    -- the enumeration was whole, so the run stands for all that its cursor left open
    complete       boolean not null default false,
    -- the reducer failed on the run's checkpoints; a retry command clears it
    reduce_failed  boolean not null default false,
    -- a closed run with unresolved dead items is resolved when the last of them is, or when a later run takes over
    resolved_at    timestamptz,
    resolution     text not null default '' check (resolution in ('', 'resolved', 'superseded')),
    entries_freed_at timestamptz
);
create unique index sync_runs_one_open on sync_runs (integration_id) where closed_at is null;
create index sync_runs_by_integration on sync_runs (integration_id, created_at desc);
create index sync_runs_open on sync_runs (state, heartbeat_at) where closed_at is null;
create index sync_runs_unresolved on sync_runs (integration_id) where closed_at is not null and resolved_at is null;
create index sync_runs_entries on sync_runs (closed_at) where closed_at is not null and entries_freed_at is null;

-- The checkpoints that a run completed, kept while dead items stand between it and the cursor.
create table run_checkpoints (
    run_id     uuid not null references sync_runs (id) on delete cascade,
    batch      integer not null,
    item_index integer not null,
    checkpoint text,
    primary key (run_id, batch, item_index)
);

create table dead_items (
    id             uuid primary key,
    integration_id uuid not null references integrations (id) on delete cascade,
    provider       text not null,
    run_id         uuid not null references sync_runs (id) on delete cascade,
    attempt        integer not null,
    batch          integer not null,
    item_index     integer not null,
    event_type     text not null,
    external_id    text not null,
    payload        bytea not null,
    checkpoint     text,
    reason         text not null,
    error          text not null,
    tries          integer not null,
    hop            integer not null,
    status         text not null default 'open' check (status in ('open', 'redriving', 'resolved', 'skipped', 'superseded')),
    resolved_by    text not null default '',
    note           text not null default '',
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    unique (run_id, attempt, batch, item_index)
);
create index dead_items_unresolved on dead_items (integration_id, created_at) where status in ('open', 'redriving');

-- How many runs in a row a record has been dead in; alerted once.
create table item_streaks (
    integration_id uuid not null references integrations (id) on delete cascade,
    event_type     text not null,
    external_id    text not null,
    runs           integer not null,
    alerted        boolean not null default false,
    primary key (integration_id, event_type, external_id)
);
