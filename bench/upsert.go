package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

const (
	upsertRows    = 1000
	upsertWriters = 4
)

const upsertStatement = `
insert into bench_records (integration_id, event_type, external_id, payload, checkpoint, checkpoint_key, run_id, created_at, updated_at)
select $1, d.event_type, d.external_id, d.payload::jsonb, d.checkpoint, d.checkpoint_key, $2, $3, $3
from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) as d (event_type, external_id, payload, checkpoint, checkpoint_key)
on conflict (integration_id, event_type, external_id) do update
    set payload = excluded.payload, checkpoint = excluded.checkpoint, checkpoint_key = excluded.checkpoint_key,
        run_id = excluded.run_id, updated_at = excluded.updated_at`

// measureUpserts writes the records that the built-in sink writes, into a table of the same shape, from several connections and with
// nothing else around: no queue, no checkpoint, no event.
func measureUpserts(ctx context.Context, s *servers, items int) (usage, error) {
	if _, err := s.pool.Exec(ctx, "drop table if exists bench_records; create table bench_records (like records including all)"); err != nil {
		return usage{}, fmt.Errorf("make a table: %w", err)
	}
	m := startMeter(s.database)
	integration, run := uuid.New(), uuid.New()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(upsertWriters)
	for first := 1; first <= items; first += upsertRows {
		group.Go(func() error { return upsert(ctx, s, integration, run, first, min(first+upsertRows, items+1)) })
	}
	if err := group.Wait(); err != nil {
		return usage{}, err
	}
	used := m.stop()
	var stored int
	if err := s.pool.QueryRow(context.WithoutCancel(ctx), "select count(*) from bench_records").Scan(&stored); err != nil || stored != items {
		return usage{}, fmt.Errorf("%d of %d records were stored: %w", stored, items, err)
	}
	_, err := s.pool.Exec(context.WithoutCancel(ctx), "drop table bench_records")
	return used, err
}

func upsert(ctx context.Context, s *servers, integration, run uuid.UUID, from, to int) error {
	columns := make([][]string, 5)
	for i := from; i < to; i++ {
		r := newRecord(i)
		payload, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode a record: %w", err)
		}
		for column, value := range []string{"main.stored", r.ID, string(payload), fmt.Sprint(r.Seq), fmt.Sprintf("%020d", r.Seq)} {
			columns[column] = append(columns[column], value)
		}
	}
	_, err := s.pool.Exec(ctx, upsertStatement, integration, run, time.Now(), columns[0], columns[1], columns[2], columns[3], columns[4])
	if err != nil {
		return fmt.Errorf("upsert: %w", err)
	}
	return nil
}
