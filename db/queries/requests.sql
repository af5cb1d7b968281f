-- name: RequestPartition :one
-- RequestPartition makes the partition of a day, and tells whether there was none.
select requests_partition(sqlc.arg(day)::date)::boolean as made;

-- name: RequestPartitionDays :many
-- RequestPartitionDays lists the days that have a partition.
select requests_days()::date as day;

-- name: RequestPartitionDrop :exec
select requests_drop(sqlc.arg(day)::date);

-- name: RequestInsertMany :exec
-- RequestInsertMany writes rows; those that are there already stay, for a write whose answer was lost is repeated.
insert into requests (id, created_at, integration_id, provider, run_id, item, webhook, attempt, first_id, idempotency_key, method, host, path, query, status, failure_class,
    error, upstream_id, duration, request_header, response_header, request_body, response_body, request_bytes, response_bytes, request_cut, response_cut, bodies_dropped)
select r.id, r.created_at, r.integration_id, r.provider, nullif(r.run_id, '00000000-0000-0000-0000-000000000000'::uuid), r.item, r.webhook, r.attempt, r.first_id,
    r.idempotency_key, r.method, r.host, r.path, r.query, nullif(r.status, 0), r.failure_class, r.error, r.upstream_id, r.duration,
    r.request_header, r.response_header, r.request_body, r.response_body, r.request_bytes, r.response_bytes, r.request_cut, r.response_cut, r.bodies_dropped
from (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(created_ats)::timestamptz[]) as created_at,
    unnest(sqlc.arg(integration_ids)::uuid[]) as integration_id, unnest(sqlc.arg(providers)::text[]) as provider, unnest(sqlc.arg(run_ids)::uuid[]) as run_id,
    unnest(sqlc.arg(items)::text[]) as item, unnest(sqlc.arg(webhooks)::text[]) as webhook, unnest(sqlc.arg(attempts)::integer[]) as attempt,
    unnest(sqlc.arg(first_ids)::uuid[]) as first_id, unnest(sqlc.arg(idempotency_keys)::text[]) as idempotency_key, unnest(sqlc.arg(methods)::varchar[]) as method,
    unnest(sqlc.arg(hosts)::varchar[]) as host, unnest(sqlc.arg(paths)::varchar[]) as path, unnest(sqlc.arg(queries)::varchar[]) as query,
    unnest(sqlc.arg(statuses)::integer[]) as status, unnest(sqlc.arg(failure_classes)::text[]) as failure_class, unnest(sqlc.arg(errors)::varchar[]) as error,
    unnest(sqlc.arg(upstream_ids)::varchar[]) as upstream_id, unnest(sqlc.arg(durations)::interval[]) as duration,
    unnest(sqlc.arg(request_headers)::text[]) as request_header, unnest(sqlc.arg(response_headers)::text[]) as response_header,
    unnest(sqlc.arg(request_bodies)::varchar[]) as request_body, unnest(sqlc.arg(response_bodies)::varchar[]) as response_body,
    unnest(sqlc.arg(request_byte_counts)::bigint[]) as request_bytes, unnest(sqlc.arg(response_byte_counts)::bigint[]) as response_bytes,
    unnest(sqlc.arg(request_cuts)::boolean[]) as request_cut, unnest(sqlc.arg(response_cuts)::boolean[]) as response_cut,
    unnest(sqlc.arg(bodies_dropped)::boolean[]) as bodies_dropped) r
on conflict do nothing;

-- name: RequestGet :one
select * from requests where id = sqlc.arg(id);

-- name: RequestAttempts :many
-- RequestAttempts lists the attempts of the request that a first row began, without headers and bodies.
select id, created_at, attempt, status, failure_class, error, duration from requests
where id = sqlc.arg(first_id) or (first_id = sqlc.arg(first_id) and first_id <> id)
order by attempt, id;

-- name: RequestList :many
-- RequestList lists attempts without headers and bodies, newest first: those before one, when it is given.
select id, created_at, integration_id, provider, run_id, item, webhook, attempt, first_id, idempotency_key, method, host, path, query, status, failure_class,
    left(error, 400)::text as error, upstream_id, duration, request_bytes, response_bytes
from requests
where (sqlc.narg(integration_id)::uuid is null or integration_id = sqlc.narg(integration_id)::uuid)
  and (sqlc.narg(run_id)::uuid is null or run_id = sqlc.narg(run_id)::uuid)
  and (sqlc.arg(item)::text = '' or item = sqlc.arg(item)::text)
  and (sqlc.arg(webhook)::text = '' or webhook = sqlc.arg(webhook)::text)
  and (sqlc.arg(idempotency_key)::text = '' or idempotency_key = sqlc.arg(idempotency_key)::text)
  and (sqlc.narg(status)::integer is null or status = sqlc.narg(status)::integer)
  and (sqlc.arg(failed)::boolean is false or failure_class <> '')
  and (sqlc.arg(failure_class)::text = '' or failure_class = sqlc.arg(failure_class)::text)
  and created_at >= sqlc.arg(since)::timestamptz
  and (sqlc.narg(before)::uuid is null or id < sqlc.narg(before)::uuid)
order by id desc
limit sqlc.arg(most);

-- name: DeletedIntegrations :many
-- DeletedIntegrations lists integrations that were deleted and may still have rows in the request log.
select integration_id from deleted_integrations order by deleted_at limit sqlc.arg(most);

-- name: RequestDeleteOf :execrows
-- RequestDeleteOf deletes the oldest requests of an integration, as many as most. Both parts read the index by integration.
delete from requests d where d.integration_id = sqlc.arg(integration_id) and d.id <= coalesce(
    (select r.id from requests r where r.integration_id = sqlc.arg(integration_id) order by r.id limit 1 offset sqlc.arg(most)::bigint - 1),
    'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid
);

-- name: DeletedIntegrationDone :exec
-- DeletedIntegrationDone forgets a deleted integration once no process can have a request of its that is still to be logged.
delete from deleted_integrations where integration_id = sqlc.arg(integration_id) and deleted_at < sqlc.arg(deleted_before)::timestamptz;
