package postgres_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
)

// Answers that an old key has sealed are dropped, wherever they stand among the others, and however few are looked at a time.
func TestResealDropsCachedAnswers(t *testing.T) {
	pool := pgtest.DB(t)
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	store := postgres.New(pool, ring)
	for i, key := range []string{"old", ring.Primary(), "old", "old", ring.Primary(), "older"} {
		_, err := pool.Exec(t.Context(), `insert into cached_answers values ($1, $2, '{}', $3, '', now(), now(), now())`,
			[]byte{byte(i / 2)}, []byte{byte(i)}, key)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Reseal(t.Context(), uuid.Nil, 2, postgres.Access{Who: "test", Why: "test", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	rows, err := pool.Query(t.Context(), `select variant from cached_answers order by variant`)
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{{1}, {4}}, left); diff != "" {
		t.Errorf("left are (-want +got):\n%s", diff)
	}
}
