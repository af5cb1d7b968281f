package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

const (
	day = 24 * time.Hour
	// pruneEvery is the interval at which old rows are deleted and partitions are made for the days to come.
	pruneEvery = day
	// partitionsAhead is the number of days for which the request log has partitions. A day without one gets it with
	// its first row.
	partitionsAhead = 3
	// pruneAtATime is how many rows one statement deletes.
	pruneAtATime = 1000
	// countsKept is the number of days for which the hourly request counters are kept, one more than any statistic
	// needs. MinutesKept is that of the counters by minute, from which failure rates are computed.
	countsKept  = 31
	minutesKept = 1
	// dryMost bounds the rows that a dry run counts in each table.
	dryMost = 100_000
)

// Retention is for how many days things are kept.
type Retention struct {
	// Requests is for the request log, Keys for idempotency keys whose outcome is known.
	Requests, Keys int
	// Items is for dead items that are resolved or skipped, and for runs that are resolved.
	Items int
	// Webhooks is for webhooks that are done, Operations for the business log, Incidents for closed incidents.
	Webhooks, Operations, Incidents int
}

// DefaultRetention has the original's numbers. The original keeps webhooks for ever; here they are kept as long as
// items.
func DefaultRetention() Retention {
	return Retention{Requests: 90, Keys: 90, Items: 30, Webhooks: 30, Operations: 365, Incidents: 365}
}

// daysBefore is a number of days before now, by the calendar: a duration of more than 106,751 days would overflow.
func daysBefore(now time.Time, days int) time.Time { return now.UTC().AddDate(0, 0, -days) }

// pruning is how one table is pruned.
type pruning struct {
	table string
	days  int
	prune prune
}

// prune deletes rows that are older, most of them at a time, and returns how many it has deleted.
type prune func(q *dbsqlc.Queries, ctx context.Context, before time.Time, most int32) (int64, error)

// prunings lists the tables so that a table comes before those to which it refers.
func (r Retention) prunings() []pruning {
	return []pruning{
		{"idempotency_keys", r.Keys, (*dbsqlc.Queries).KeyPrune},
		{"dead_items", r.Items, (*dbsqlc.Queries).DeadPrune},
		{"sync_runs", r.Items, ofNullable((*dbsqlc.Queries).RunPrune)},
		{"webhooks", r.Webhooks, (*dbsqlc.Queries).WebhookPrune},
		{"operations", r.Operations, (*dbsqlc.Queries).OperationPrune},
		{"incidents", r.Incidents, ofNullable((*dbsqlc.Queries).IncidentPrune)},
		{"request_counts", countsKept, func(
			q *dbsqlc.Queries, ctx context.Context, before time.Time, most int32,
		) (int64, error) {
			return q.RequestCountPrune(ctx, dbsqlc.RequestCountPruneParams{
				MinutesBefore: before.Add((countsKept - minutesKept) * day), HoursBefore: before, Most: most,
			})
		}},
		// Each answer has its own expiry.
		{"cached_answers", 0, (*dbsqlc.Queries).AnswerPrune},
	}
}

// ofNullable is the prune of a table whose rows may have no time yet.
func ofNullable(query func(*dbsqlc.Queries, context.Context, *time.Time, int32) (int64, error)) prune {
	return func(q *dbsqlc.Queries, ctx context.Context, before time.Time, most int32) (int64, error) {
		return query(q, ctx, &before, most)
	}
}

// tend deletes old rows, and makes the partitions of the days to come.
func (k *Keeper) tend(ctx context.Context) error {
	making := k.Store.MakeRequestPartitions(ctx, k.Now(), partitionsAhead)
	pruned, err := k.Prune(ctx, api.Prune{})
	for _, table := range pruned.Tables {
		if table.Rows > 0 || len(table.Partitions) > 0 {
			k.Log.Info(
				"pruned", "table", table.Table, "older_than_days", table.Days, "rows", table.Rows, "partitions",
				len(table.Partitions),
			)
		}
	}
	return errors.Join(making, err)
}

// Prune deletes old rows, and drops old partitions of the request log. A table that can't be pruned does not hold up
// the others. When the caller's time is almost over, the reply says that there is more.
func (k *Keeper) Prune(ctx context.Context, q api.Prune) (api.Pruned, error) {
	var reply api.Pruned
	before := daysBefore(k.Now(), k.Settings.Retention.Requests)
	dropped, err := k.Store.DropRequestPartitions(ctx, before, q.DryRun)
	requests := api.PrunedTable{Table: "requests", Days: k.Settings.Retention.Requests}
	for _, partition := range dropped {
		requests.Partitions = append(requests.Partitions, partition.Format(time.DateOnly))
	}
	reply.Tables = append(reply.Tables, requests)
	problems := []error{err}
	for _, p := range k.Settings.Retention.prunings() {
		rows, more, err := k.pruneTable(ctx, p, q.DryRun)
		reply.Tables = append(reply.Tables, api.PrunedTable{Table: p.table, Days: p.days, Rows: rows})
		reply.More = reply.More || more
		if err != nil {
			problems = append(problems, fmt.Errorf("prune %s: %w", p.table, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return reply, errors.Join(problems...)
}

// errDry rolls back a dry run, which deletes rows as a real one does.
var errDry = errors.New("only to be told")

func (k *Keeper) pruneTable(ctx context.Context, p pruning, dry bool) (rows int64, more bool, err error) {
	before := daysBefore(k.Now(), p.days)
	if dry {
		err := k.Store.InTx(ctx, func(tx *postgres.Tx) error {
			var err error
			if rows, err = p.prune(tx.Queries, ctx, before, dryMost); err != nil {
				return err
			}
			return errDry
		})
		if !errors.Is(err, errDry) {
			return 0, false, err
		}
		return rows, rows == dryMost, nil
	}
	for {
		deleted, err := p.prune(k.Store.Queries, ctx, before, pruneAtATime)
		if err != nil {
			return rows, false, err
		}
		rows += deleted
		if deleted < pruneAtATime {
			return rows, false, nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pruneReserve {
			return rows, true, nil
		}
	}
}

// pruneReserve is the part of the time for an answer that pruning leaves unused.
const pruneReserve = 10 * time.Second
