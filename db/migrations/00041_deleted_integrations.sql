-- +goose Up
-- Integrations that were deleted, until their rows in the request log are gone, which is done in pieces.
create table deleted_integrations (
    integration_id uuid primary key,
    deleted_at     timestamptz not null
);
-- A trigger, so that processes of older versions note it too.
-- +goose StatementBegin
create function integration_deleted() returns trigger language plpgsql as $$
begin
    insert into deleted_integrations (integration_id, deleted_at) values (old.id, now()) on conflict do nothing;
    return null;
end $$;
-- +goose StatementEnd
create trigger integration_deleted after delete on integrations for each row execute function integration_deleted();
