-- name: RecordUpsertMany :many
-- RecordUpsertMany stores the newest version of each record and returns those that changed. A version with a smaller checkpoint key than
-- the stored one is passed over, and so is one that is equal to it. One without a key can't be compared, and is stored. The integration stays for as long as its records are being stored; when it
-- is gone, nothing is stored.
with owner as (select id from integrations where id = sqlc.arg(integration_id) for key share)
insert into records as r (integration_id, event_type, external_id, payload, checkpoint, checkpoint_key, run_id, created_at, updated_at)
select owner.id, d.event_type, d.external_id, d.payload, nullif(d.checkpoint, ''), d.checkpoint_key, sqlc.arg(run_id), sqlc.arg(now), sqlc.arg(now)
from owner, (select unnest(sqlc.arg(event_types)::text[]) as event_type, unnest(sqlc.arg(external_ids)::text[]) as external_id,
             unnest(sqlc.arg(payloads)::text[])::jsonb as payload, unnest(sqlc.arg(checkpoints)::text[]) as checkpoint,
             unnest(sqlc.arg(checkpoint_keys)::text[]) as checkpoint_key) d
on conflict (integration_id, event_type, external_id) do update
    set payload = excluded.payload, checkpoint = excluded.checkpoint, checkpoint_key = excluded.checkpoint_key,
        run_id = excluded.run_id, updated_at = excluded.updated_at
    where (r.checkpoint_key <= excluded.checkpoint_key or excluded.checkpoint_key = '')
      and (r.payload, r.checkpoint_key) is distinct from (excluded.payload, excluded.checkpoint_key)
returning r.event_type, r.external_id;

-- name: RecordCount :one
select count(*) from records where integration_id = sqlc.arg(integration_id);

-- name: RecordGet :one
select * from records where integration_id = sqlc.arg(integration_id) and event_type = sqlc.arg(event_type) and external_id = sqlc.arg(external_id);
