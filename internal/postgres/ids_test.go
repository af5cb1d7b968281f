package postgres_test

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

func TestIDsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Connect(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	id, other := postgres.NewID(), postgres.NewID()
	var got struct {
		one, nothing *uuid.UUID
		many         []uuid.UUID
		texts        []string
		none         []uuid.UUID
		empty        []uuid.UUID
	}
	err = pool.QueryRow(t.Context(), "select $1::uuid, $2::uuid, $3::uuid[], $3::uuid[]::text[], $4::uuid[], $5::uuid[]",
		id, (*uuid.UUID)(nil), []uuid.UUID{id, other, uuid.Nil}, []uuid.UUID(nil), []uuid.UUID{}).
		Scan(&got.one, &got.nothing, &got.many, &got.texts, &got.none, &got.empty)
	if err != nil {
		t.Fatal(err)
	}
	if got.one == nil || *got.one != id || got.nothing != nil || got.none != nil || got.empty == nil {
		t.Errorf("got %v, %v, %v, %v", got.one, got.nothing, got.none, got.empty)
	}
	if diff := cmp.Diff([]uuid.UUID{id, other, uuid.Nil}, got.many); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{id.String(), other.String(), uuid.Nil.String()}, got.texts); diff != "" {
		t.Errorf("as Postgres has them (-want +got):\n%s", diff)
	}
	// In a query whose types pgx is not told.
	var text string
	if err := pool.QueryRow(t.Context(), "select $1::text", id).Scan(&text); err != nil || text != id.String() {
		t.Errorf("as a text: %q, %v", text, err)
	}
}
