-- name: ReceiptAddMany :exec
-- ReceiptAddMany notes items as finished, by the bytes of their bits in hexadecimal digits. Rows are taken in their order, so that no two writers wait for each other.
insert into receipts as r (run_id, attempt, batch, done)
select d.run_id, d.attempt, d.batch, bit_or(d.done)
from (select unnest(sqlc.arg(run_ids)::uuid[]) as run_id, unnest(sqlc.arg(attempts)::integer[]) as attempt, unnest(sqlc.arg(batches)::integer[]) as batch,
             ('x' || unnest(sqlc.arg(dones)::text[]))::bit(512) as done) d
group by d.run_id, d.attempt, d.batch
order by d.run_id, d.attempt, d.batch
on conflict (run_id, attempt, batch) do update set done = r.done | excluded.done
    where r.done | excluded.done <> r.done;

-- name: ReceiptList :many
select batch, done from receipts where run_id = sqlc.arg(run_id) and attempt = sqlc.arg(attempt);

-- name: ReceiptDelete :exec
delete from receipts where run_id = sqlc.arg(run_id);
