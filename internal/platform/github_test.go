package platform_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/providers/github"
)

// refusing is an upstream that answers every request with a status and a body.
type refusing struct {
	status int
	body   string
}

func (u refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: u.status, Request: req, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(u.body)),
		ContentLength: int64(len(u.body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// TestGitHubRefusesWithAnUnstorableText has GitHub refuse a sync with a message that Postgres has no place for. The run
// ends at once, and shows the message.
func TestGitHubRefusesWithAnUnstorableText(t *testing.T) {
	t.Parallel()
	ring, err := secret.LoadOrCreate(t.TempDir()+"/keys", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := newHostile(t, func(_ *hostile, c *platform.Config) {
		c.Providers["github"], c.Ring = github.New(), ring
		c.Transport = refusing{http.StatusUnprocessableEntity, `{"message":"Validation \u0000 fail\ud83ded"}`}
	})
	id := postgres.NewID()
	err = f.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
		now := time.Now()
		row := dbsqlc.IntegrationInsertParams{ID: id, Provider: "github", Name: "g", Metadata: []byte(`{"owner":"o","repo":"r"}`), NextSyncAt: &now, Now: now}
		if _, err := tx.IntegrationInsert(t.Context(), row); err != nil {
			return err
		}
		_, err := f.Store.PutCredentials(t.Context(), tx, id, []byte(`{"token":"ghp_0123456789012345678901234567"}`), 0, postgres.Access{Who: "test", Why: "begin", At: now})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	run := awaitClosed(t, f.Platform, dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
	if run.State != "failed" || run.Attempts != 1 || !strings.Contains(run.Error.String(), "422 Unprocessable Entity: Validation \ufffd fail\ufffded") {
		t.Errorf("the run is %s after %d attempts: %q", run.State, run.Attempts, run.Error)
	}
}
