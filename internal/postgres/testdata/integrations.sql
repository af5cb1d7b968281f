-- Prepares for $rows rows of history in each table, spread over forty days, and a little that is open. Half of the history is one integration's.
-- The test replaces $rows. Identifiers sort by the time at which their rows were made, as those of the services do.
create function at(n bigint) returns timestamptz language sql stable as
$$ select transaction_timestamp() - ($rows - n) * (interval '40 days' / $rows) $$;
create function id(kind text, n bigint) returns uuid language sql immutable as
$$ select (lpad(to_hex(n), 12, '0') || '70008' || substr(md5(kind), 1, 3) || lpad(to_hex(n), 12, '0'))::uuid $$;
create function owner(n bigint) returns uuid language sql immutable as
$$ select id('integration', case when n % 2 = 0 then 1 else 2 + n % 1998 end) $$;

set session_replication_role = replica;

insert into integrations (id, provider, name, next_sync_at, last_synced_at, probe_at, created_at, updated_at)
select id('integration', n), 'shop', 'integration ' || n, now() + interval '1 hour', now(), now() + interval '1 hour', at(1), at(1) from generate_series(1, 2000) n;
insert into credentials (integration_id, key_id, sealed, updated_at) select i.id, 'k1', 'sealed', now() from integrations i;
insert into oauth_grants (integration_id, provider, state, token_id, credentials_version, refreshable, due_at, updated_at)
select i.id, 'shop', 'connected', 't', 1, true, now() + interval '1 hour', now() from integrations i;
insert into oauth_revocations (integration_id, provider, name, owner, metadata, key_id, sealed, due_at, created_at)
select id('gone', n), 'shop', 'gone', '', '{}', 'k1', 'sealed', now() + interval '1 hour', now() from generate_series(1, 2000) n;
insert into oauth_states (state_hash, integration_id, provider, browser_hash, key_id, verifier, created_at, expires_at)
select decode(md5(n::text), 'hex'), owner(n), 'shop', 'browser', 'k1', 'verifier', now(), now() + interval '1 hour' from generate_series(1, 2000) n;
insert into circuits (integration_id, open, transition, reason, since) select i.id, false, 1, '', now() from integrations i;
insert into webhook_sources (integration_id, last_received_at) select i.id, now() from integrations i;
insert into outbox (id, subject, msg_id, body, created_at) select id('outbox', n), 'subject ' || n, n::text, '', now() from generate_series(1, $rows / 10) n;
-- Minutes of requests for each integration.
insert into request_counts (integration_id, grain, starts_at, succeeded, upstream, throttle, client, unknown, cached, duration_ms)
select id('integration', n), 'minute', date_trunc('minute', now()) - m * interval '1 minute', 1, 0, 0, 0, 0, 0, 1 from generate_series(1, 2000) n, generate_series(0, 19) m;
-- Ten days of the request log, and the next, should it begin before all rows are there.
select requests_partition((now() at time zone 'utc')::date - d) from generate_series(-1, 10) d;

analyze;
