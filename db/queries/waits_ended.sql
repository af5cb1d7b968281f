-- name: WaitsEnd :exec
-- WaitsEnd notes that a cause of waits of an integration has ended. It belongs in the transaction that ends it.
insert into waits_ended (integration_id, cause, at) values (sqlc.arg(integration_id), sqlc.arg(cause), sqlc.arg(now))
on conflict (integration_id, cause) do update set at = excluded.at, passes = 0;

-- name: WaitsEndForHandlers :exec
-- WaitsEndForHandlers notes that integrations of some providers need not wait for a handler any more. It takes the integrations that have a webhook
-- or a dead item that waits, or an open run: which items of a run wait is known to the broker alone.
insert into waits_ended (integration_id, cause, at)
select i.id, 'handler', sqlc.arg(now)::timestamptz from integrations i
where i.provider = any(sqlc.arg(providers)::text[]) and i.id in (
    select w.integration_id from webhooks w where w.status = 'pending' and w.waiting_for = 'handler'
    union all select r.integration_id from sync_runs r where r.closed_at is null
    union all select d.integration_id from dead_items d where d.status = 'redriving')
order by i.id
on conflict (integration_id, cause) do update set at = excluded.at, passes = 0;

-- name: IntegrationsThatMayWait :many
-- IntegrationsThatMayWait lists the integrations of a provider that have a webhook or a dead item that waits, or an open run.
select i.id, i.version from integrations i
where i.provider = sqlc.arg(provider) and i.id in (
    select w.integration_id from webhooks w where w.status = 'pending' and w.waiting_for <> ''
    union all select r.integration_id from sync_runs r where r.closed_at is null
    union all select d.integration_id from dead_items d where d.status = 'redriving')
order by i.id;

-- name: WaitsEndedDue :many
-- WaitsEndedDue lists what no pass was made for, and what is due for the second.
select w.integration_id, w.cause, w.at, w.passes, i.provider from waits_ended w join integrations i on i.id = w.integration_id
where (w.passes = 0 or w.at <= sqlc.arg(settled)) and i.status = 'active'
order by w.at limit sqlc.arg(most);

-- name: WaitsEndedPassed :exec
-- WaitsEndedPassed notes the first pass, if the cause has not ended once more since.
update waits_ended set passes = 1
where integration_id = sqlc.arg(integration_id) and cause = sqlc.arg(cause) and at = sqlc.arg(at);

-- name: WaitsEndedDone :exec
-- WaitsEndedDone notes the second pass, if the cause has not ended once more since.
delete from waits_ended
where integration_id = sqlc.arg(integration_id) and cause = sqlc.arg(cause) and at = sqlc.arg(at) and passes = 1;

-- name: RunEndWaits :execrows
-- RunEndWaits brings the waiting run of an integration forward, if it waits for the cause. The cause 'any' is that of all that is deferred.
update sync_runs set waiting_until = sqlc.arg(now)::timestamptz
where integration_id = sqlc.arg(integration_id) and closed_at is null and state = 'waiting' and waiting_for <> ''
  and (waiting_for = sqlc.arg(cause)::text or sqlc.arg(cause)::text = 'any') and waiting_until > sqlc.arg(now)::timestamptz;

-- name: WebhookEndWaits :execrows
-- WebhookEndWaits brings deferred deliveries of an integration forward, if they wait for the cause. The cause 'any' is that of all that is deferred.
update webhooks set next_try_at = sqlc.arg(now)::timestamptz
where integration_id = sqlc.arg(integration_id) and status = 'pending' and waiting_for <> ''
  and (waiting_for = sqlc.arg(cause)::text or sqlc.arg(cause)::text = 'any') and next_try_at > sqlc.arg(now)::timestamptz;
