package health_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/events"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a keeper on a database with one integration, and a clock that the test moves.
type world struct {
	*health.Keeper
	pool *pgxpool.Pool
	id   uuid.UUID
	now  time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{pool: pgtest.DB(t), now: start}
	w.Keeper = &health.Keeper{
		Store: postgres.New(w.pool, nil), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now }, Settings: health.DefaultSettings(),
	}
	w.id = w.insert(t, "main")
	return w
}

func (w *world) insert(t *testing.T, name string) uuid.UUID {
	t.Helper()
	id := postgres.NewID()
	_, err := w.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: id, Provider: "shop", Name: name, Metadata: json.RawMessage("{}"), NextSyncAt: &start, Now: start,
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (w *world) row(t *testing.T) *postgres.Integration {
	t.Helper()
	row, err := w.Store.IntegrationGet(t.Context(), w.id)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// fails, refuses and succeeds report what n requests on end came to.
func (w *world) fails(t *testing.T, n int) {
	t.Helper()
	w.report(t, vitals.Report{Failed: true, Failures: n, Error: "GET /things: 503 Service Unavailable"})
}

func (w *world) refuses(t *testing.T, n int) {
	t.Helper()
	w.report(t, vitals.Report{Failed: true, Refusals: n, Error: "GET /things: 401 Unauthorized"})
}

func (w *world) succeeds(t *testing.T, n int) {
	t.Helper()
	w.report(t, vitals.Report{Answered: true, Successes: n})
}

func (w *world) report(t *testing.T, r vitals.Report) {
	t.Helper()
	r.Integration = w.id.String()
	if _, err := w.ReportHealth(t.Context(), []vitals.Report{r}); err != nil {
		t.Fatal(err)
	}
}

// told are the events in the outbox, in their order: the name, and what decode makes of the body.
func (w *world) told(t *testing.T) []string {
	t.Helper()
	rows, err := w.Store.OutboxClaim(context.WithoutCancel(t.Context()), dbsqlc.OutboxClaimParams{Away: []string{}, Now: w.now, Most: 1000})
	if err != nil {
		t.Fatal(err)
	}
	told := []string{}
	for _, row := range rows {
		name, _, integration, err := events.ParseEventSubject(row.Subject)
		if err != nil {
			t.Fatal(err)
		}
		if integration != w.id.String() {
			continue
		}
		var body struct{ From, To, Severity, Source, Class string }
		if err := json.Unmarshal(row.Body, &body); err != nil {
			t.Fatal(err)
		}
		text := string(name)
		for _, part := range []string{body.From, body.To, body.Source, body.Severity} {
			if part != "" {
				text += " " + part
			}
		}
		told = append(told, text)
	}
	return told
}
