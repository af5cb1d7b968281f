-- name: StateInsert :exec
insert into oauth_states (state_hash, integration_id, provider, browser_hash, key_id, verifier, started_by, created_at, expires_at)
values (sqlc.arg(state_hash), sqlc.arg(integration_id), sqlc.arg(provider), sqlc.arg(browser_hash), sqlc.arg(key_id), sqlc.arg(verifier), sqlc.arg(started_by),
        sqlc.arg(now), sqlc.arg(expires_at));

-- name: StateConsume :one
-- StateConsume takes a state for its one use, in the browser that started with it.
delete from oauth_states
where state_hash = sqlc.arg(state_hash) and browser_hash = sqlc.arg(browser_hash) and expires_at > sqlc.arg(now) and provider = any(sqlc.arg(providers)::text[])
returning *;

-- name: StateForget :execrows
delete from oauth_states where expires_at <= sqlc.arg(now);

-- name: StateCountStale :one
select count(*) from oauth_states where key_id <> sqlc.arg(key_id) and expires_at > sqlc.arg(now);
