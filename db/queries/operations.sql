-- name: OperationInsertMany :exec
insert into operations (id, integration_id, operation, direction, status, subject, external_id, summary, details, error, started_at, ended_at)
select unnest(sqlc.arg(ids)::uuid[]), unnest(sqlc.arg(integration_ids)::uuid[]), unnest(sqlc.arg(operations)::text[]), unnest(sqlc.arg(directions)::text[]),
       unnest(sqlc.arg(statuses)::text[]), unnest(sqlc.arg(subjects)::text[]), unnest(sqlc.arg(external_ids)::text[]), unnest(sqlc.arg(summaries)::varchar[]),
       unnest(sqlc.arg(details)::jsonb[]), unnest(sqlc.arg(errors)::varchar[]), unnest(sqlc.arg(started_ats)::timestamptz[]), unnest(sqlc.arg(ended_ats)::timestamptz[]);

-- name: OperationCount :many
-- OperationCount tells how the operations of integrations that ended since a time went.
select integration_id, operation, status, count(*) as operations from operations
where integration_id = any(sqlc.arg(integration_ids)::uuid[]) and ended_at >= sqlc.arg(since)
group by integration_id, operation, status;

-- name: OperationPrune :execrows
-- OperationPrune deletes the oldest operations that ended before a time, some at a time.
delete from operations where id = any(array(
    select o.id from operations o where o.ended_at < sqlc.arg(ended_before) order by o.ended_at limit sqlc.arg(most)));
