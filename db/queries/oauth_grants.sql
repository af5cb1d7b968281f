-- name: GrantGet :one
-- GrantGet tells of a grant beside what the integration has now; its state is empty where there is no grant yet.
select i.id as integration_id, i.provider, i.status, coalesce(c.version, 0)::bigint as credentials_now, coalesce(g.state, '')::text as state,
       coalesce(g.token_id, '')::text as token_id, coalesce(g.credentials_version, -1)::bigint as credentials_version,
       coalesce(g.refreshable, false)::boolean as refreshable, g.obtained_at, g.expires_at, g.due_at,
       coalesce(g.failures, 0)::integer as failures, coalesce(g.reason, '')::text as reason, g.leased_until,
       coalesce(g.brief, 0)::integer as brief, coalesce(g.fence, 0)::bigint as fence
from integrations i
left join credentials c on c.integration_id = i.id
left join oauth_grants g on g.integration_id = i.id
where i.id = sqlc.arg(id);

-- name: GrantUnadopted :many
-- GrantUnadopted finds integrations whose credentials were written by somebody else than a refresher since it last looked.
select i.id from integrations i
left join credentials c on c.integration_id = i.id
left join oauth_grants g on g.integration_id = i.id
where i.provider = any(sqlc.arg(providers)::text[]) and (g.integration_id is null or g.credentials_version <> coalesce(c.version, 0))
order by i.id
limit sqlc.arg(most);

-- name: GrantAdopt :one
-- GrantAdopt makes or replaces a grant of what the credentials hold. Other tokens than the known ones raise the fence, so that a refresh of the old ones that is
-- under way is refused; with the same ones only the version moves.
insert into oauth_grants as g (integration_id, provider, state, token_id, credentials_version, refreshable, expires_at, due_at, reason, updated_at)
values (sqlc.arg(integration_id), sqlc.arg(provider), sqlc.arg(state), sqlc.arg(token_id), sqlc.arg(credentials_version), sqlc.arg(refreshable), sqlc.narg(expires_at), sqlc.narg(due_at),
        sqlc.arg(reason), sqlc.arg(now)::timestamptz)
on conflict (integration_id) do update set
    credentials_version = excluded.credentials_version,
    refreshable  = excluded.refreshable,
    updated_at   = excluded.updated_at,
    state        = case when g.token_id = excluded.token_id then g.state        else excluded.state end,
    token_id     = excluded.token_id,
    obtained_at  = case when g.token_id = excluded.token_id then g.obtained_at  else null end,
    expires_at   = case when g.token_id = excluded.token_id then g.expires_at   else excluded.expires_at end,
    due_at       = case when g.token_id = excluded.token_id then g.due_at       else excluded.due_at end,
    failures     = case when g.token_id = excluded.token_id then g.failures     else 0 end,
    lost         = case when g.token_id = excluded.token_id then g.lost         else 0 end,
    brief        = case when g.token_id = excluded.token_id then g.brief        else 0 end,
    refused_since = case when g.token_id = excluded.token_id then g.refused_since else null end,
    reason       = case when g.token_id = excluded.token_id then g.reason       else excluded.reason end,
    intent_at    = case when g.token_id = excluded.token_id then g.intent_at    else null end,
    leased_until = case when g.token_id = excluded.token_id then g.leased_until else null end,
    fence        = case when g.token_id = excluded.token_id then g.fence        else next_fence(g.fence, sqlc.arg(now)::timestamptz) end
returning *;

-- name: GrantConnect :one
-- GrantConnect is the grant that a user has just given. Whatever was under way with an older one is refused from now on.
insert into oauth_grants as g (integration_id, provider, state, token_id, credentials_version, refreshable, obtained_at, expires_at, due_at, fence, updated_at)
values (sqlc.arg(integration_id), sqlc.arg(provider), 'connected', sqlc.arg(token_id), sqlc.arg(credentials_version), sqlc.arg(refreshable), sqlc.arg(now)::timestamptz, sqlc.narg(expires_at),
        sqlc.narg(due_at), 1, sqlc.arg(now)::timestamptz)
on conflict (integration_id) do update set
    state = excluded.state, token_id = excluded.token_id, credentials_version = excluded.credentials_version,
    refreshable = excluded.refreshable, obtained_at = excluded.obtained_at,
    expires_at = excluded.expires_at, due_at = excluded.due_at, failures = 0, reason = '', fence = next_fence(g.fence, sqlc.arg(now)::timestamptz), holder = '', leased_until = null,
    intent_at = null, lost = 0, brief = 0, refused_since = null, updated_at = excluded.updated_at
returning *;

-- name: GrantDue :many
-- GrantDue names the providers that have grants for GrantTakeDue. With abandoned, intents that were left by holders that died count.
select p.provider::text from unnest(sqlc.arg(providers)::text[]) as p(provider)
where exists (
    select from oauth_grants o
    where o.provider = p.provider and o.due_at <= sqlc.arg(now)::timestamptz and o.state in ('connected', 'uncertain')
      and (o.leased_until is null or o.leased_until <= sqlc.arg(now)::timestamptz) and (o.intent_at is null or sqlc.arg(abandoned)::boolean)
);

-- name: GrantTakeDue :many
-- GrantTakeDue takes the leases of a provider's grants that are due, those first that are due the longest, and writes the intent to refresh them. An intent that is
-- there already was left by a holder that died, so that its refresh token may be spent; with abandoned those are taken, and no others.
update oauth_grants g set
    fence = next_fence(g.fence, sqlc.arg(now)::timestamptz), holder = sqlc.arg(holder), leased_until = sqlc.arg(until)::timestamptz, due_at = sqlc.arg(until)::timestamptz, intent_at = sqlc.arg(now)::timestamptz,
    state = case when g.intent_at is not null then 'uncertain' else g.state end,
    lost = g.lost + (g.intent_at is not null)::integer, updated_at = sqlc.arg(now)::timestamptz
from (select o.integration_id from oauth_grants o
      where o.provider = sqlc.arg(provider) and o.due_at <= sqlc.arg(now)::timestamptz and o.state in ('connected', 'uncertain')
        and (o.leased_until is null or o.leased_until <= sqlc.arg(now)::timestamptz) and (o.intent_at is not null) = sqlc.arg(abandoned)::boolean
      order by o.due_at limit sqlc.arg(most) for update skip locked) d
where g.integration_id = d.integration_id
returning g.*;

-- name: GrantTake :one
-- GrantTake is GrantTakeDue of one grant, due or not; no row means that somebody else has its lease, or that it has other tokens by now.
update oauth_grants g set
    fence = next_fence(g.fence, sqlc.arg(now)::timestamptz), holder = sqlc.arg(holder), leased_until = sqlc.arg(until)::timestamptz, due_at = sqlc.arg(until)::timestamptz, intent_at = sqlc.arg(now)::timestamptz,
    state = case when g.intent_at is not null then 'uncertain' else g.state end,
    lost = g.lost + (g.intent_at is not null)::integer, updated_at = sqlc.arg(now)::timestamptz
where g.integration_id = sqlc.arg(integration_id) and g.token_id = sqlc.arg(token_id) and g.state in ('connected', 'uncertain')
  and (g.leased_until is null or g.leased_until <= sqlc.arg(now)::timestamptz) and (g.intent_at is null or sqlc.arg(abandoned)::boolean)
returning g.*;

-- name: GrantRenew :execrows
-- GrantRenew extends leases that this process works under. Those whose fence has moved on are left alone. One that is locked is passed over until the next time, so
-- that the others do not wait for it until they end.
with held as (
    select g.integration_id from oauth_grants g
    join (select unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(fences)::bigint[]) as fence) h on g.integration_id = h.id and g.fence = h.fence
    where g.leased_until is not null for update of g skip locked
)
update oauth_grants g set leased_until = sqlc.arg(until)::timestamptz, due_at = sqlc.arg(until)::timestamptz
from held where g.integration_id = held.integration_id;

-- name: GrantRefreshed :execrows
update oauth_grants set
    state = 'connected', token_id = sqlc.arg(token_id), credentials_version = sqlc.arg(credentials_version),
    refreshable = sqlc.arg(refreshable), obtained_at = sqlc.arg(now)::timestamptz,
    expires_at = sqlc.narg(expires_at), due_at = sqlc.narg(due_at), failures = 0, reason = sqlc.arg(reason), holder = '', leased_until = null, intent_at = null,
    lost = 0, brief = sqlc.arg(brief), refused_since = null, updated_at = sqlc.arg(now)::timestamptz
where integration_id = sqlc.arg(integration_id) and fence = sqlc.arg(fence);

-- name: GrantKept :execrows
-- GrantKept is for a refresh token that came without a good access token: the grant stays leased, and nothing of it is lost any more.
update oauth_grants set
    state = 'connected', token_id = sqlc.arg(token_id), credentials_version = sqlc.arg(credentials_version), intent_at = null, lost = 0,
    updated_at = sqlc.arg(now)::timestamptz
where integration_id = sqlc.arg(integration_id) and fence = sqlc.arg(fence);

-- name: GrantFailed :execrows
-- GrantFailed gives a lease back. Uncertain is for a refresh token that may be spent, and stays until a later refresh decides.
update oauth_grants set
    state = case when sqlc.arg(uncertain)::boolean then 'uncertain' else state end,
    failures = failures + 1, reason = sqlc.arg(reason), due_at = sqlc.narg(due_at), holder = '', leased_until = null, intent_at = null,
    lost = lost + sqlc.arg(lost)::boolean::integer,
    refused_since = case when sqlc.arg(refused)::boolean then coalesce(refused_since, sqlc.arg(now)::timestamptz) else refused_since end,
    updated_at = sqlc.arg(now)::timestamptz
where integration_id = sqlc.arg(integration_id) and fence = sqlc.arg(fence);

-- name: GrantReleased :execrows
-- GrantReleased gives a lease back without anything having been sent.
update oauth_grants set due_at = sqlc.narg(due_at), holder = '', leased_until = null, intent_at = null, updated_at = sqlc.arg(now)::timestamptz
where integration_id = sqlc.arg(integration_id) and fence = sqlc.arg(fence);

-- name: GrantEnd :execrows
-- GrantEnd ends a grant: the upstream has, or we have.
update oauth_grants set
    state = sqlc.arg(state), reason = sqlc.arg(reason), token_id = sqlc.arg(token_id), credentials_version = sqlc.arg(credentials_version), due_at = null,
    fence = next_fence(fence, sqlc.arg(now)::timestamptz), holder = '', leased_until = null, intent_at = null, updated_at = sqlc.arg(now)::timestamptz
where integration_id = sqlc.arg(integration_id) and fence = sqlc.arg(fence);

-- name: GrantStray :many
-- GrantStray finds integrations that are active though nothing of theirs can run before their user has authorized.
select g.integration_id from oauth_grants g join integrations i on i.id = g.integration_id
where g.provider = any(sqlc.arg(providers)::text[]) and g.state in ('missing', 'reauth-required', 'revoked') and i.status = 'active'
order by g.integration_id
limit sqlc.arg(most);

-- name: GrantMeasure :many
-- GrantMeasure tells, of each provider, how many grants wait for their user, and in how many seconds the first token ends among those that do.
select g.provider, count(*) as grants, count(*) filter (where g.state in ('missing', 'reauth-required', 'revoked')) as pending,
       count(*) filter (where g.state = 'uncertain') as uncertain,
       count(g.expires_at) filter (where g.state in ('connected', 'uncertain')) as expiring,
       coalesce(extract(epoch from min(g.expires_at) filter (where g.state in ('connected', 'uncertain')) - sqlc.arg(now)::timestamptz), 0)::float8 as seconds_left
from oauth_grants g where g.provider = any(sqlc.arg(providers)::text[])
group by g.provider;
