-- +goose Up
-- What is to be published, written in the transaction of the state that it tells of. A row is deleted once the broker has stored it.
create table outbox (
    id           uuid primary key,
    subject      text not null,
    msg_id       text not null,
    headers      jsonb not null default '{}',
    body         bytea not null,
    created_at   timestamptz not null
);

-- +goose StatementBegin
create function outbox_notify() returns trigger language plpgsql as $$
begin
    perform pg_notify('tributary_outbox', '');
    return null;
end $$;
-- +goose StatementEnd
create trigger outbox_notify after insert on outbox for each statement execute function outbox_notify();

-- Commands that were carried out, so that a redelivery is not.
create table commands_done (
    id      text primary key,
    done_at timestamptz not null
);
create index commands_done_at on commands_done (done_at);
