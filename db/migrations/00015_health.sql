-- +goose Up
-- What requests say of an integration's upstream, over all processes.
alter table integrations
    add column health text not null default 'healthy' check (health in ('healthy', 'degraded', 'failing', 'disabled')),
    -- why it is not healthy; empty when it is
    add column health_reason text not null default '',
    add column health_since timestamptz,
    -- upstream failures without a success between them, and since when
    add column consecutive_failures integer not null default 0,
    add column failing_since timestamptz,
    -- refused credentials without a success between them
    add column consecutive_refusals integer not null default 0,
    -- successes since the last failure, counted while it is not healthy
    add column consecutive_successes integer not null default 0,
    add column last_error text not null default '',
    add column last_error_at timestamptz,
    -- when to ask the upstream how it is, and how often that went wrong on end
    add column probe_at timestamptz,
    add column probes integer not null default 0,
    -- since when too large a share of the requests fails, whatever the class
    add column failure_rate_since timestamptz;
update integrations set probe_at = updated_at + interval '1 hour';
create index integrations_probe on integrations (probe_at) where probe_at is not null;
create index integrations_failure_rate on integrations (id) where failure_rate_since is not null;

-- A time in which something is wrong with an integration, from the first sign to the last.
create table incidents (
    id             uuid primary key,
    integration_id uuid not null references integrations (id) on delete cascade,
    -- what was wrong first, and which sources say so now: health, circuit, sync, token
    source         text not null,
    reason         text not null,
    raised         text[] not null,
    peak_severity  text not null check (peak_severity in ('degraded', 'failing', 'disabled')),
    opened_at      timestamptz not null,
    last_signal_at timestamptz not null,
    closed_at      timestamptz,
    check (closed_at is null or raised = '{}')
);
create unique index incidents_one_open on incidents (integration_id) where closed_at is null;
create index incidents_by_integration on incidents (integration_id, opened_at desc);
create index incidents_closed on incidents (closed_at) where closed_at is not null;

-- The timeline of an incident.
create table incident_signals (
    id          uuid primary key,
    incident_id uuid not null references incidents (id) on delete cascade,
    source      text not null,
    -- empty: the source is well again
    severity    text not null check (severity in ('', 'degraded', 'failing', 'disabled')),
    reason      text not null,
    at          timestamptz not null
);
create index incident_signals_by_incident on incident_signals (incident_id, id);

-- How many requests went how, per minute for an hour and per hour for a month; every process adds its own.
create table request_counts (
    integration_id uuid not null references integrations (id) on delete cascade,
    grain          text not null check (grain in ('minute', 'hour')),
    starts_at      timestamptz not null,
    -- attempts that left, by what became of them
    succeeded      bigint not null,
    upstream       bigint not null,
    throttle       bigint not null,
    client         bigint not null,
    unknown        bigint not null,
    -- requests that were answered from the cache
    cached         bigint not null,
    -- time that the attempts took, all together
    duration_ms    bigint not null,
    primary key (integration_id, grain, starts_at)
);
create index request_counts_by_time on request_counts (grain, starts_at);
