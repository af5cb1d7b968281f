-- name: IntegrationInsert :execrows
insert into integrations (id, provider, name, owner, metadata, sync_interval, next_sync_at, probe_at, created_at, updated_at)
values (sqlc.arg(id), sqlc.arg(provider), sqlc.arg(name), sqlc.arg(owner), sqlc.arg(metadata), sqlc.narg(sync_interval),
        sqlc.narg(next_sync_at), sqlc.narg(probe_at), sqlc.arg(now), sqlc.arg(now))
on conflict (name) do nothing;

-- name: IntegrationGet :one
select * from integrations where id = sqlc.arg(id);

-- name: IntegrationGetByName :one
select * from integrations where name = sqlc.arg(name);

-- name: IntegrationLock :one
select * from integrations where id = sqlc.arg(id) for no key update;

-- name: IntegrationList :many
-- IntegrationList is a page of integrations by name: those after a name, of one provider or of all.
select * from integrations
where (sqlc.arg(provider)::text = '' or provider = sqlc.arg(provider)::text) and name > sqlc.arg(after)::text
order by name
limit sqlc.arg(most);

-- name: IntegrationNames :many
select id, name from integrations where id = any(sqlc.arg(ids)::uuid[]);

-- name: IntegrationUpdate :one
-- IntegrationUpdate changes what is given and raises the version, so that running services notice.
update integrations set
    owner = coalesce(sqlc.narg(owner), owner),
    metadata = coalesce(sqlc.narg(metadata), metadata),
    sync_interval = case when sqlc.arg(clear_interval)::boolean then null else coalesce(sqlc.narg(sync_interval), sync_interval) end,
    version = next_fence(version, sqlc.arg(now)),
    updated_at = sqlc.arg(now)
where id = sqlc.arg(id)
returning *;

-- name: IntegrationTouch :one
-- IntegrationTouch raises the version and nothing else, for credentials that have changed.
update integrations set version = next_fence(version, sqlc.arg(now)), updated_at = sqlc.arg(now) where id = sqlc.arg(id) returning version;

-- name: IntegrationTell :exec
-- IntegrationTell has all processes look at integrations again though no version was raised.
select pg_notify('tributary_integrations', t.id::text) from (select unnest(sqlc.arg(ids)::uuid[]) as id) t;

-- name: IntegrationSetStatus :one
update integrations set status = sqlc.arg(status), status_reason = sqlc.arg(reason), version = next_fence(version, sqlc.arg(now)), updated_at = sqlc.arg(now)
where id = sqlc.arg(id)
returning *;

-- name: IntegrationDelete :execrows
with gone as (delete from receipts where run_id = (select r.id from sync_runs r where r.integration_id = sqlc.arg(id) and r.closed_at is null))
delete from integrations i where i.id = sqlc.arg(id);

-- name: IntegrationSetNextSync :exec
update integrations set next_sync_at = sqlc.narg(next_sync_at) where id = sqlc.arg(id);

-- name: IntegrationClaimDue :many
-- IntegrationClaimDue locks integrations that are due and have no open run. Another scheduler's claims are passed over.
select i.* from integrations i
where i.status = 'active' and i.next_sync_at <= sqlc.arg(now) and i.provider = any(sqlc.arg(providers)::text[])
  and not exists (select 1 from sync_runs r where r.integration_id = i.id and r.closed_at is null)
  and i.id <> all(sqlc.arg(without)::uuid[])
order by i.next_sync_at
limit sqlc.arg(most)
for no key update of i skip locked;

-- name: IntegrationSetNextSyncMany :exec
update integrations i set next_sync_at = d.next_sync_at
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(next_sync_ats)::timestamptz[]) as next_sync_at) d
where i.id = d.id;

-- name: IntegrationMoveCursor :one
-- IntegrationMoveCursor is a compare-and-set on the cursor's version, and returns the new one. No row means that the cursor has moved since.
update integrations set sync_cursor = sqlc.narg(sync_cursor), cursor_version = next_fence(cursor_version, sqlc.arg(now)), updated_at = sqlc.arg(now)
where id = sqlc.arg(id) and cursor_version = sqlc.arg(cursor_version)
returning cursor_version;

-- name: IntegrationSynced :one
-- IntegrationSynced records how a run ended: a clean one resets the failures and stands for a probe, another one raises the failures if it counts.
update integrations set
    last_synced_at = case when sqlc.arg(clean)::boolean then sqlc.arg(now) else last_synced_at end,
    consecutive_sync_failures = case when sqlc.arg(clean)::boolean then 0 else consecutive_sync_failures + sqlc.arg(counts)::boolean::integer end,
    probe_at = case when sqlc.arg(clean)::boolean and health = 'healthy' then sqlc.arg(probe_at) else probe_at end
where id = sqlc.arg(id)
returning consecutive_sync_failures;

-- name: IntegrationMarkStale :many
-- IntegrationMarkStale marks, once an episode, active integrations whose last clean sync is longer ago than their limit, and those of other providers that
-- have been due since a time without a run that shows signs of life: no scheduler that runs has their provider.
with stale as (
    select i.id from integrations i
    left join (select unnest(sqlc.arg(providers)::text[]) as provider, unnest(sqlc.arg(intervals)::interval[]) as default_interval) d on i.provider = d.provider
    where i.status = 'active' and i.stale_since is null and i.next_sync_at is not null and i.id <> all(sqlc.arg(without)::uuid[])
      and case when d.provider is not null
          then coalesce(i.last_synced_at, i.created_at) + coalesce(i.sync_interval, d.default_interval) * sqlc.arg(intervals_allowed)::integer < sqlc.arg(now)
          else i.next_sync_at < sqlc.arg(unclaimed_before)::timestamptz and not exists (
              select from sync_runs r
              where r.integration_id = i.id and r.closed_at is null and greatest(r.heartbeat_at, r.waiting_until) > sqlc.arg(unclaimed_before)::timestamptz)
          end
    order by i.id
    limit sqlc.arg(most)
    for no key update of i skip locked
)
update integrations i set stale_since = sqlc.arg(now)
from stale
where i.id = stale.id
returning i.*;

-- name: IntegrationClearStale :execrows
update integrations set stale_since = null where id = sqlc.arg(id) and stale_since is not null;

-- name: IntegrationVersions :many
-- IntegrationVersions are the versions of those integrations that still exist.
select id, version from integrations where id = any(sqlc.arg(ids)::uuid[]);

-- name: IntegrationSetRate :one
-- IntegrationSetRate puts a request budget in the place of the provider's, or with no limit takes it away again.
update integrations set
    rate_limit = sqlc.narg(rate_limit)::integer, rate_window = sqlc.narg(rate_window)::interval,
    rate_sliding = sqlc.arg(rate_sliding)::boolean, rate_until = sqlc.narg(rate_until)::timestamptz,
    version = next_fence(version, sqlc.arg(now)), updated_at = sqlc.arg(now)
where id = sqlc.arg(id)
returning *;

-- name: IntegrationSetCircuit :one
-- IntegrationSetCircuit overrides the circuit, or with an empty override leaves it to itself again.
update integrations set
    circuit_override = sqlc.arg(circuit_override)::text, circuit_until = sqlc.narg(circuit_until)::timestamptz,
    version = next_fence(version, sqlc.arg(now)), updated_at = sqlc.arg(now)
where id = sqlc.arg(id)
returning *;

-- name: IntegrationOverridesEnded :many
-- IntegrationOverridesEnded locks integrations with an override whose time is over.
select * from integrations
where (rate_until <= sqlc.arg(now)::timestamptz or circuit_until <= sqlc.arg(now)::timestamptz) and id <> all(sqlc.arg(without)::uuid[])
order by id
limit sqlc.arg(most)
for no key update skip locked;
