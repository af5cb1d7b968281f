-- +goose Up
-- To find what a key has sealed, and to go through it in steps.
create index webhooks_sealed on webhooks (id, key_id) where key_id <> '';
create index idempotency_keys_sealed on idempotency_keys (integration_id, key, hop, key_id) where key_id is not null;
