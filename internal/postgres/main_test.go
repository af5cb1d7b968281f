package postgres_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// insertIntegration makes an integration of the provider "shop".
func insertIntegration(t *testing.T, store *postgres.Store, name string) uuid.UUID {
	t.Helper()
	id := postgres.NewID()
	_, err := store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{ID: id, Provider: "shop", Name: name, Metadata: json.RawMessage("{}"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return id
}
