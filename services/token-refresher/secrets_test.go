package tokenrefresher_test

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func resume(id uuid.UUID) *eventsv1.Command { return &eventsv1.Command{Integration: id.String()} }

// clock is one that tests move.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func newClock() *clock { return &clock{} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

func keyLine(id string) string {
	return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id[:1], secret.KeyBytes)))
}

// Keys are rotated while everything runs, in steps; and what can't be opened is named and never overwritten.
func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write := func(lines ...string) {
		t.Helper()
		next := path + ".next"
		if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	write(keyLine("old"))
	ring, err := secret.Load(t.Context(), path, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, func(c *platform.Config) { c.Ring = ring; c.TokenRefresher.Tick = time.Hour })
	token := f.server.plant("a")
	ids := map[uuid.UUID]bool{}
	for i := range 7 {
		ids[f.create(strings.Repeat("x", i+1), "mail", &token)] = true
	}
	lost := f.create("lost", "mail", &token)
	if _, err := f.pool.Exec(t.Context(), "update credentials set sealed = '\\x00' where integration_id = $1", lost); err != nil {
		t.Fatal(err)
	}
	write(keyLine("new.v2"), keyLine("old"))
	f.await("the new ring to be read", func() bool { return ring.Primary() == "new.v2" })
	sealed, stuck := 0, []uuid.UUID{}
	for after := (*uuid.UUID)(nil); ; {
		step, err := f.RotateSecrets(t.Context(), api.RotateSecrets{After: after, Limit: 3, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		sealed, stuck = sealed+step.Sealed, append(stuck, step.Stuck...)
		if after = step.Next; after == nil {
			break
		}
	}
	if sealed != len(ids) || len(stuck) != 1 || stuck[0] != lost {
		t.Errorf("%d sealed anew, stuck %v; want %d and %v", sealed, stuck, len(ids), lost)
	}
	report, err := f.Secrets(t.Context())
	if err != nil || report.Primary != "new.v2" || report.Left != 1 {
		t.Errorf("the report is %+v, %v", report, err)
	}
	if again, err := f.RotateSecrets(t.Context(), api.RotateSecrets{}); err != nil || again.Sealed != 0 {
		t.Errorf("a second rotation does %+v, %v", again, err)
	}
	// What was sealed anew opens without the old key.
	write(keyLine("new.v2"))
	f.await("the ring without the old key", func() bool { return len(ring.IDs()) == 1 })
	for id := range ids {
		if f.credentials(id)["access_token"] != token.AccessToken {
			t.Errorf("the credentials of %s are others", id)
		}
	}
	_, _, err = f.store.Credentials(t.Context(), lost, postgres.Access{At: time.Now()})
	if !errors.Is(err, secret.ErrUnknownKey) {
		t.Errorf("credentials without their key: %v", err)
	}
}

// Every read and write has somebody who did it, and a reason.
func TestAudit(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", f.soon())
	f.event(events.TokenRefreshed)
	page, err := f.Audit(t.Context(), api.ListAudit{Integration: "one"})
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	for _, e := range page.Entries {
		if e.Who == "" || e.Why == "" || e.IntegrationID != id.String() || e.Key != "test" || e.At.IsZero() {
			t.Errorf("an entry is %+v", e)
		}
		if e.Action == "write" {
			writes++
		}
	}
	if writes != 2 || len(page.Entries) < 4 {
		t.Errorf("%d entries with %d writes: want the test's and the refresher's, and reads", len(page.Entries), writes)
	}
	// Of a deleted one, its id still finds them.
	if err := f.DeleteIntegration(t.Context(), api.DeleteIntegration{Integration: "one"}); err != nil {
		t.Fatal(err)
	}
	after, err := f.Audit(t.Context(), api.ListAudit{Integration: id.String(), Limit: 2})
	if err != nil || len(after.Entries) != 2 || after.Next == "" {
		t.Errorf("the audit of a deleted integration is %+v, %v", after, err)
	}
}
