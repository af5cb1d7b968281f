-- +goose Up
-- A foreign key looks for the integration once for every record; the statement that stores records looks for it once for all.
alter table records drop constraint records_integration_id_fkey;

-- +goose StatementBegin
create function records_delete_owned() returns trigger language plpgsql as $$
begin
    delete from records where integration_id = old.id;
    return null;
end;
$$;
-- +goose StatementEnd

create trigger records_delete_owned after delete on integrations for each row execute function records_delete_owned();
