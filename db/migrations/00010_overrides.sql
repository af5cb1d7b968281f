-- +goose Up
-- What operators set in the place of the provider's request budget and of the circuit's own judgement, for a time or until it is cleared.
alter table integrations
    add column rate_limit integer check (rate_limit >= 1),
    add column rate_window interval check (rate_window >= interval '1 second'),
    add column rate_sliding boolean not null default false,
    add column rate_until timestamptz,
    add column circuit_override text not null default '' check (circuit_override in ('', 'forced-open', 'forced-closed', 'disabled')),
    add column circuit_until timestamptz,
    add check ((rate_limit is null) = (rate_window is null) and (rate_limit is not null or rate_until is null)),
    add check (circuit_override <> '' or circuit_until is null);
create index integrations_rate_until on integrations (rate_until) where rate_until is not null;
create index integrations_circuit_until on integrations (circuit_until) where circuit_until is not null;

-- Running services hold integrations in memory; whoever raises a version tells them.
-- +goose StatementBegin
create function integration_notify() returns trigger language plpgsql as $$
begin
    perform pg_notify('tributary_integrations', case when tg_op = 'DELETE' then old.id else new.id end::text);
    return null;
end $$;
-- +goose StatementEnd
create trigger integration_notify after insert or delete or update of version on integrations
    for each row execute function integration_notify();
