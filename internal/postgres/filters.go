package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// filtering has queries with optional filters planned for their arguments. A plan that must hold with and without a filter can't use the filter's
// index, and PostgreSQL changes to such a plan at the sixth execution of a prepared statement.
type filtering struct{ dbsqlc.DBTX }

// OptionalFilter reports whether a query has a filter that its arguments switch off.
func OptionalFilter(sql string) bool { return strings.Contains(sql, "::uuid is null") }

func (f filtering) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return f.DBTX.Query(ctx, sql, unprepared(sql, args)...)
}

func (f filtering) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return f.DBTX.Exec(ctx, sql, unprepared(sql, args)...)
}

func (f filtering) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return f.DBTX.QueryRow(ctx, sql, unprepared(sql, args)...)
}

// unprepared has pgx send a query as an unnamed statement, which PostgreSQL plans each time.
func unprepared(sql string, args []any) []any {
	if !OptionalFilter(sql) {
		return args
	}
	return append([]any{pgx.QueryExecModeCacheDescribe}, args...)
}
