-- name: AuditList :many
-- AuditList lists who has read and written credentials, newest first: of one integration or all, and those before an entry when one is given.
select a.*, coalesce(i.name, '')::text as name from secret_audit a left join integrations i on i.id = a.integration_id
where (sqlc.narg(integration_id)::uuid is null or a.integration_id = sqlc.narg(integration_id)::uuid)
  and (sqlc.narg(before)::uuid is null or a.id < sqlc.narg(before)::uuid)
order by a.id desc
limit sqlc.arg(most);

-- name: AuditForget :execrows
-- AuditForget drops old entries, some at a time.
delete from secret_audit where id = any(array(
    select o.id from secret_audit o where o.at < sqlc.arg(before) order by o.at limit sqlc.arg(most)));
