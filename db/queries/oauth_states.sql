-- name: StateInsert :exec
insert into oauth_states (state_hash, integration_id, provider, browser_hash, key_id, verifier, started_by, link_hash, created_at, expires_at)
values (sqlc.arg(state_hash), sqlc.arg(integration_id), sqlc.arg(provider), sqlc.arg(browser_hash), sqlc.arg(key_id), sqlc.arg(verifier), sqlc.arg(started_by),
        sqlc.narg(link_hash), sqlc.arg(now), sqlc.arg(expires_at));

-- name: StateConsume :one
-- StateConsume takes a state for its one use, in the browser that started with it.
delete from oauth_states
where state_hash = sqlc.arg(state_hash) and browser_hash = sqlc.arg(browser_hash) and expires_at > sqlc.arg(now) and provider = any(sqlc.arg(providers)::text[])
returning *;

-- name: StateForget :execrows
delete from oauth_states where expires_at <= sqlc.arg(now);

-- name: LinkOpen :execrows
-- LinkOpen gives a link to the browser that opens it first. No row means that another browser has it, or that its authorization is done.
insert into oauth_links as l (link_hash, browser_hash, expires_at)
values (sqlc.arg(link_hash), sqlc.arg(browser_hash), sqlc.arg(expires_at))
on conflict (link_hash) do update set expires_at = excluded.expires_at
    where l.browser_hash = excluded.browser_hash and not l.done;

-- name: LinkDone :exec
update oauth_links set done = true where link_hash = sqlc.arg(link_hash);

-- name: LinkForget :execrows
delete from oauth_links where expires_at <= sqlc.arg(now);
