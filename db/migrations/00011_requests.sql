-- +goose Up
-- Every attempt of a request to a third party. Partitions of one day are made ahead and on demand, and dropped as a whole.
create table requests (
    id                uuid not null,
    created_at        timestamptz not null,
    -- the row outlives the integration
    integration_id    uuid not null,
    provider          text not null,
    -- what the request was made for, as far as it is known
    run_id            uuid,
    item              text not null,
    webhook           text not null,
    -- counted from 1; first_id is the first attempt's row, and its own for the first
    attempt           integer not null,
    first_id          uuid not null,
    idempotency_key   text not null,
    method            text not null,
    host              text not null,
    path              text not null,
    query             text not null,
    -- null: no answer
    status            integer,
    failure_class     text not null check (failure_class in ('', 'upstream', 'throttle', 'client', 'unknown')),
    error             text not null,
    -- the id that the upstream gave the request
    upstream_id       text not null,
    -- until the head of the answer, or the error
    duration          interval not null,
    -- JSON objects of lists
    request_header    text not null,
    response_header   text not null,
    -- redacted, and cut where it says so; dropped: there was no memory to keep it
    request_body      text not null,
    response_body     text not null,
    request_bytes     bigint not null,
    response_bytes    bigint not null,
    request_cut       boolean not null,
    response_cut      boolean not null,
    bodies_dropped    boolean not null,
    primary key (id, created_at)
) partition by range (created_at);
create index requests_by_integration on requests (integration_id, id desc);
create index requests_by_run on requests (run_id, id) where run_id is not null;
create index requests_by_key on requests (idempotency_key) where idempotency_key <> '';
create index requests_by_first on requests (first_id) where first_id <> id;

-- requests_days lists the days that have a partition.
-- +goose StatementBegin
create function requests_days() returns setof date language sql stable as $$
    select to_date(right(c.relname::text, 8), 'YYYYMMDD') from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'requests'::regclass order by 1
$$;
-- +goose StatementEnd

-- requests_partition makes the partition of a day, in UTC, and tells whether there was none. Attaching one locks out neither readers nor writers.
-- +goose StatementBegin
create function requests_partition(day date) returns boolean language plpgsql as $$
declare
    name text := 'requests_' || to_char(day, 'YYYYMMDD');
begin
    if exists (select from requests_days() d where d = day) then
        return false;
    end if;
    perform pg_advisory_xact_lock(hashtext('requests_partition'));
    if exists (select from requests_days() d where d = day) then
        return false;
    end if;
    execute format('create table %I (like requests including defaults including constraints)', name);
    execute format('alter table requests attach partition %I for values from (%L) to (%L)', name,
        to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
    return true;
end $$;
-- +goose StatementEnd

-- requests_drop drops a day's partition. It gives up rather than have all others queue behind it.
-- +goose StatementBegin
create function requests_drop(day date) returns void language plpgsql as $$
begin
    perform set_config('lock_timeout', '2s', true);
    execute format('drop table if exists %I', 'requests_' || to_char(day, 'YYYYMMDD'));
end $$;
-- +goose StatementEnd
