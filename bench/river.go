package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverInsert is how many jobs a statement inserts.
const riverInsert = 1000

// riverSettings are what decides how fast River fetches jobs.
type riverSettings struct {
	workers        int
	cooldown, poll time.Duration
}

// riverFast are the settings of River's own benchmark program: a producer fetches again at once. riverUsual are those that a program has which sets none, with the
// number of workers of River's examples: they are for queues that are mostly empty.
func riverFast() riverSettings {
	return riverSettings{workers: 2000, cooldown: 2 * time.Millisecond, poll: 20 * time.Millisecond}
}

func riverUsual() riverSettings {
	return riverSettings{workers: 100, cooldown: river.FetchCooldownDefault, poll: river.FetchPollIntervalDefault}
}

// riverArgs make every record a job.
type riverArgs record

// Kind names the job.
func (riverArgs) Kind() string { return "bench" }

// measureRiver inserts a job for each item, as fast as River can, while it works on them with workers that do nothing.
func measureRiver(ctx context.Context, s *servers, items int, settings riverSettings) (usage, error) {
	driver := riverpgxv5.New(s.pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return usage{}, fmt.Errorf("make River's migrator: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return usage{}, fmt.Errorf("migrate for River: %w", err)
	}
	if _, err := s.pool.Exec(ctx, "truncate river_job"); err != nil {
		return usage{}, fmt.Errorf("empty River's jobs: %w", err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[riverArgs]) error { return nil }))
	client, err := river.NewClient(driver, &river.Config{
		Logger: slog.New(slog.DiscardHandler), Workers: workers, FetchCooldown: settings.cooldown, FetchPollInterval: settings.poll,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: settings.workers}},
	})
	if err != nil {
		return usage{}, fmt.Errorf("make River's client: %w", err)
	}
	completed, unsubscribe := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: items, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	defer unsubscribe()
	if err := client.Start(ctx); err != nil {
		return usage{}, fmt.Errorf("start River: %w", err)
	}
	defer func() { _ = client.Stop(context.WithoutCancel(ctx)) }()
	m := startMeter(s.database)
	if err := insertJobs(ctx, client, items); err != nil {
		return usage{}, err
	}
	for range items {
		select {
		case <-completed:
		case <-ctx.Done():
			return usage{}, ctx.Err()
		}
	}
	return m.stop(), nil
}

func insertJobs(ctx context.Context, client *river.Client[pgx.Tx], items int) error {
	for first := 1; first <= items; first += riverInsert {
		jobs := make([]river.InsertManyParams, 0, riverInsert)
		for i := first; i < first+riverInsert && i <= items; i++ {
			jobs = append(jobs, river.InsertManyParams{Args: riverArgs(newRecord(i))})
		}
		if _, err := client.InsertManyFast(ctx, jobs); err != nil {
			return fmt.Errorf("insert jobs: %w", err)
		}
	}
	return nil
}
