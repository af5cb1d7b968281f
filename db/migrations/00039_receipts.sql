-- +goose Up
-- What workers have finished, one bit for each item of a batch, written together with the items' effects or after them. The outcomes in NATS count only
-- as far as these rows bear them out: a database that went back to an earlier state lacks the effects and the rows alike.
create table receipts (
    run_id  uuid not null,
    attempt integer not null,
    batch   integer not null,
    -- eight items to a byte, the lowest bit first
    done    bit(512) not null,
    primary key (run_id, attempt, batch)
);
