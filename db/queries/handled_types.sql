-- name: HandledTypeAnnounce :exec
-- HandledTypeAnnounce notes which handlers a worker has. A row that was seen lately is left as it is, however many workers there are.
insert into handled_types as h (provider, kind, event_type, since, seen_at)
select t.provider, t.kind, t.event_type, sqlc.arg(now)::timestamptz, sqlc.arg(now)::timestamptz
from (select unnest(sqlc.arg(providers)::text[]) as provider, unnest(sqlc.arg(kinds)::text[]) as kind, unnest(sqlc.arg(event_types)::text[]) as event_type) as t
order by t.provider, t.kind, t.event_type
on conflict (provider, kind, event_type) do update set seen_at = excluded.seen_at where h.seen_at < sqlc.arg(seen_before)::timestamptz;

-- name: HandledTypesBack :many
-- HandledTypesBack returns the providers of those handlers that no worker has announced since a time: they are new, or their last worker had gone.
select distinct t.provider::text as provider
from (select unnest(sqlc.arg(providers)::text[]) as provider, unnest(sqlc.arg(kinds)::text[]) as kind, unnest(sqlc.arg(event_types)::text[]) as event_type) as t
where not exists (select 1 from handled_types h where h.provider = t.provider and h.kind = t.kind and h.event_type = t.event_type
                  and h.seen_at >= sqlc.arg(gone_before)::timestamptz)
order by 1;

-- name: HandledTypesAmong :many
-- HandledTypesAmong returns those of some event types for which a worker has had a handler.
select event_type from handled_types
where provider = sqlc.arg(provider) and kind = sqlc.arg(kind) and event_type = any(sqlc.arg(event_types)::text[]);

-- name: HandledTypeList :many
-- HandledTypeList lists them in order: those of one provider or of all, and only those after one, when it is given.
select * from handled_types
where (sqlc.arg(provider)::text = '' or provider = sqlc.arg(provider)::text)
  and (provider, kind, event_type) > (sqlc.arg(after_provider)::text, sqlc.arg(after_kind)::text, sqlc.arg(after_event_type)::text)
order by provider, kind, event_type
limit sqlc.arg(most);

-- name: HandledTypeForget :one
-- HandledTypeForget deletes one that no worker has announced lately.
delete from handled_types
where provider = sqlc.arg(provider) and kind = sqlc.arg(kind) and event_type = sqlc.arg(event_type) and seen_at < sqlc.arg(seen_before)::timestamptz
returning *;
