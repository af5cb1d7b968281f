-- Adds the rows from $first to $last of $rows. What a run has does not grow with them: four hundred of each.
-- The newest hundred runs are open, a hundred are partial and wait for their dead items.
insert into sync_runs (id, integration_id, provider, mode, cause, state, window_from, heartbeat_at, waiting_until, cursor_version, created_at, closed_at, complete, resolved_at, entries_freed_at)
select id('run', n), case when n <= $rows - 100 then owner(n) else id('integration', 1 + $rows - n) end, 'shop', 'incremental', 'schedule',
       case when n > $rows - 50 then 'waiting' when n > $rows - 100 then 'working' when n % ($rows / 100) = 7 then 'partial' else 'succeeded' end,
       at(n), at(n), case when n > $rows - 50 then now() + interval '1 hour' end, n, at(n), case when n <= $rows - 100 then at(n) end, true,
       case when n <= $rows - 100 and (n <= $rows / 2 or n % ($rows / 100) <> 7) then at(n) end, case when n <= $rows - 200 then at(n) end
from generate_series($first, $last) n;
insert into run_checkpoints (run_id, batch, item_index, checkpoint)
select id('run', 7 + (n % ($rows / 400)) * 400), n / ($rows / 400), 0, n::text from generate_series($first, $last) n;
insert into receipts (run_id, attempt, batch, done)
select case when n > $rows - 40000 then id('run', $rows - 99 + n % 100) else id('run', n) end, 1, n, repeat('1', 512)::bit(512) from generate_series($first, $last) n;
insert into dead_items (id, integration_id, provider, run_id, attempt, batch, item_index, event_type, external_id, payload, reason, error, tries, hop, status, created_at, updated_at)
select id('dead', n), owner(n), 'shop', id('run', 7 + (n / 400) * 400), 1, n, 0, 'shop.Order', n::text, '{}', 'failed', 'broken', 5, 5,
       case when n > $rows - 100 then 'open' when n > $rows - 110 then 'redriving' else 'resolved' end, at(n), at(n)
from generate_series($first, $last) n;
insert into item_streaks (integration_id, event_type, external_id, runs) select owner(n), 'shop.Order', n::text, 1 from generate_series($first, $last) n;
insert into records (integration_id, event_type, external_id, payload, run_id, created_at, updated_at)
select owner(n), 'shop.Order', n::text, '{}', id('run', n), at(n), at(n) from generate_series($first, $last) n;
insert into mappings (integration_id, kind, external_id, internal_id, created_at, updated_at) select owner(n), 'order', n::text, n::text, at(n), at(n) from generate_series($first, $last) n;
insert into commands_done (id, done_at) select 'command ' || n, at(n) from generate_series($first, $last) n;
insert into idempotency_keys (integration_id, key, hop, provider, fingerprint, state, owner, lease_until, created_at, updated_at)
select owner(n), 'key ' || n, 0, 'shop', '', case when n > $rows - 20 then 'reserved' when n % ($rows / 20) = 3 then 'unknown' else 'succeeded' end,
       id('owner', n), now() + interval '1 hour', at(n), at(n) from generate_series($first, $last) n;
insert into cached_answers (key, variant, vary, key_id, sealed, stored_at, fresh_until, keep_until)
select decode(md5((n / 2)::text), 'hex'), decode(md5(n::text), 'hex'), '{}', 'k1', 'sealed', at(n), at(n), at(n) + interval '30 days' from generate_series($first, $last) n;
insert into operations (id, integration_id, operation, direction, status, subject, started_at, ended_at)
select id('operation', n), owner(n), 'sync', 'inbound', 'succeeded', n::text, at(n), at(n) from generate_series($first, $last) n;
insert into incidents (id, integration_id, source, reason, raised, peak_severity, opened_at, last_signal_at, closed_at)
select id('incident', n), case when n <= $rows - 100 then owner(n) else id('integration', 1 + $rows - n) end, 'health', 'broken',
       case when n <= $rows - 100 then '{}' else '{health}' end::text[], 'failing', at(n), at(n), case when n <= $rows - 100 then at(n) end
from generate_series($first, $last) n;
insert into incident_signals (id, incident_id, source, severity, reason, at) select id('signal', n), id('incident', n), 'health', 'failing', 'broken', at(n) from generate_series($first, $last) n;
insert into request_counts (integration_id, grain, starts_at, succeeded, upstream, throttle, client, unknown, cached, duration_ms)
select id('integration', 1 + n % 2000), 'hour', date_trunc('hour', at(n)) - (n / 2000) * interval '1 hour', 1, 0, 0, 0, 0, 0, 1 from generate_series($first, $last) n
on conflict do nothing;
insert into secret_audit (id, at, integration_id, action, who, why, version, key_id) select id('audit', n), at(n), owner(n), 'read', 'syncer', 'sync', 1, 'k1' from generate_series($first, $last) n;
insert into requests (id, created_at, integration_id, provider, run_id, item, webhook, attempt, first_id, idempotency_key, method, host, path, query, status, failure_class, error, upstream_id,
    duration, request_header, response_header, request_body, response_body, request_bytes, response_bytes, request_cut, response_cut, bodies_dropped)
select id('request', n), now() - (now() - at(n)) / 4, owner(n), 'shop', id('run', n), '', '', 1, id('request', n), '', 'GET', 'shop.example', '/', '', case when n % 1000 = 0 then 500 else 200 end,
       case when n % 1000 = 0 then 'upstream' else '' end, '', '', interval '1 second', '{}', '{}', '', '', 0, 0, false, false, false
from generate_series($first, $last) n;
-- Three thousand five hundred deliveries with a backlog in order, of a hundred keys, and a hundred that are being handled.
insert into webhooks (id, integration_id, provider, delivery_id, ordering_key, sequence, method, path, query, headers, body, status, next_try_at, lease_until, received_at, stored_at)
select id('webhook', n), owner(n), 'shop', n::text, case when n % 3 = 0 then '' else 'key ' || n % 100 end, n, 'POST', '/', '', '{}', '',
       case when n > $rows - 100 then 'processing' when n > $rows - 3600 then 'pending' when n % ($rows / 100) = 9 then 'failed' else 'processed' end,
       at(n), case when n > $rows - 100 then now() + interval '1 hour' end, at(n), at(n)
from generate_series($first, $last) n;
