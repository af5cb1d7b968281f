package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// RequestWriter writes to the request log and makes the partitions that it needs. It is for one goroutine.
type RequestWriter struct {
	store *Store
	// days are those of which the partition was there when this process looked.
	days map[string]bool
}

// NewRequestWriter returns a writer.
func NewRequestWriter(store *Store) *RequestWriter {
	return &RequestWriter{store: store, days: map[string]bool{}}
}

// Write inserts rows, all or none; those that are there already stay.
func (w *RequestWriter) Write(ctx context.Context, rows dbsqlc.RequestInsertManyParams) error {
	err := w.write(ctx, rows)
	if isNoPartition(err) {
		// It was dropped since.
		clear(w.days)
		err = w.write(ctx, rows)
	}
	if err != nil {
		return fmt.Errorf("write %d requests: %w", len(rows.Ids), err)
	}
	return nil
}

func (w *RequestWriter) write(ctx context.Context, rows dbsqlc.RequestInsertManyParams) error {
	for _, at := range rows.CreatedAts {
		day := at.UTC().Format(time.DateOnly)
		if w.days[day] {
			continue
		}
		if _, err := w.store.RequestPartition(ctx, dayOf(at)); err != nil {
			return err
		}
		w.days[day] = true
	}
	return w.store.RequestInsertMany(ctx, rows)
}

// MakeRequestPartitions makes the partitions of a time's day and of the days after it.
func (s *Store) MakeRequestPartitions(ctx context.Context, from time.Time, days int) error {
	for n := range days {
		if _, err := s.RequestPartition(ctx, dayOf(from.AddDate(0, 0, n))); err != nil {
			return fmt.Errorf("make a partition of requests: %w", err)
		}
	}
	return nil
}

// DropRequestPartitions drops those whose every row is older than a time, and returns their days. When dry, it only tells.
func (s *Store) DropRequestPartitions(ctx context.Context, before time.Time, dry bool) ([]time.Time, error) {
	days, err := s.RequestPartitionDays(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the partitions of requests: %w", err)
	}
	var dropped []time.Time
	for _, day := range days {
		if day.Time.AddDate(0, 0, 1).After(before) {
			continue
		}
		if !dry {
			if err := s.RequestPartitionDrop(ctx, day); err != nil {
				return dropped, fmt.Errorf("drop the partition of requests of %s: %w", day.Time.Format(time.DateOnly), err)
			}
		}
		dropped = append(dropped, day.Time)
	}
	return dropped, nil
}

// RefusesRow reports whether an error says that the database will never take what it was given.
func RefusesRow(err error) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	// 22: a value that can't be; 23: a constraint; 54: larger than an index or a row takes
	return ok && (strings.HasPrefix(server.Code, "22") || strings.HasPrefix(server.Code, "23") || strings.HasPrefix(server.Code, "54"))
}

// isNoPartition reports whether a row had no partition to go to; a violated check of a column has the same code, and a name.
func isNoPartition(err error) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && server.Code == "23514" && server.ConstraintName == ""
}

func dayOf(at time.Time) pgtype.Date {
	y, m, d := at.UTC().Date()
	return pgtype.Date{Time: time.Date(y, m, d, 0, 0, 0, 0, time.UTC), Valid: true}
}
