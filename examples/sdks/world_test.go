package sdks_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/examples/sdks"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/providers/github"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// world is the platform in this process, on a NATS and a Postgres of the test's own, without services: the SDKs call by themselves.
type world struct {
	*platform.Platform
	t *testing.T
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	config := platform.Defaults()
	config.Transport = http.DefaultTransport // the upstreams are on this machine
	config.NATS, config.Pool, config.Ring = natstest.New(t).Connect(), pgtest.DB(t), ring
	config.Providers = map[string]contracts.Provider{"stripe": sdks.StripeProvider{}, "github": github.New()}
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return &world{Platform: built, t: t}
}

// integration makes one, and returns it as a handler would get it.
func (w *world) integration(provider, name string, credentials, metadata any) *contracts.Integration {
	w.t.Helper()
	id, now := postgres.NewID(), time.Now()
	err := w.Store.InTx(w.t.Context(), func(tx *postgres.Tx) error {
		_, err := tx.IntegrationInsert(w.t.Context(), dbsqlc.IntegrationInsertParams{
			ID: id, Provider: provider, Name: name, Metadata: encode(w.t, metadata), Now: now,
		})
		if err != nil {
			return err
		}
		_, err = w.Store.PutCredentials(w.t.Context(), tx, id, encode(w.t, credentials), 0, postgres.Access{At: now})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	in, err := w.Integrations.Current(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return in
}

func encode(t *testing.T, value any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// rows waits until the request log has n rows, and returns them, oldest first.
func (w *world) rows(n int) []*dbsqlc.RequestListRow {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		rows, err := w.Store.RequestList(w.t.Context(), dbsqlc.RequestListParams{Most: 1000})
		if err != nil {
			w.t.Fatal(err)
		}
		if len(rows) >= n || time.Now().After(deadline) {
			if len(rows) != n {
				w.t.Fatalf("%d rows are in the request log, want %d", len(rows), n)
			}
			slices.Reverse(rows)
			return rows
		}
	}
}

// request is a row with headers and bodies.
func (w *world) request(id uuid.UUID) *dbsqlc.Request {
	w.t.Helper()
	row, err := w.Store.RequestGet(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return row
}
