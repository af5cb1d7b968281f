package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// A prepared statement gets a plan for any arguments at its sixth execution, and that one can't use an index for an optional filter.
func TestQueriesWithOptionalFiltersAreNotPrepared(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store := postgres.New(pool, nil)
	for range 7 {
		if _, err := store.RunList(t.Context(), dbsqlc.RunListParams{Most: 10}); err != nil {
			t.Fatal(err)
		}
		err := store.InTx(t.Context(), func(tx *postgres.Tx) error {
			_, err := tx.RunSetReduceFailed(t.Context(), dbsqlc.RunSetReduceFailedParams{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.RunOpenIDs(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var lists, others int
	const count = "select count(*) filter (where statement ~ 'RunList|RunSetReduceFailed'), count(*) filter (where statement ~ 'RunOpenIDs') from pg_prepared_statements"
	if err := pool.QueryRow(t.Context(), count, pgx.QueryExecModeSimpleProtocol).Scan(&lists, &others); err != nil {
		t.Fatal(err)
	}
	if lists != 0 || others != 1 {
		t.Errorf("prepared are %d statements with optional filters and %d others, want 0 and 1", lists, others)
	}
}
