package platform_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// forget has Postgres go back to before a key was reserved.
func (w *testbed) forget(key string) {
	w.t.Helper()
	tag, err := w.pool.Exec(w.t.Context(), "delete from idempotency_keys where key = $1", key)
	if err != nil || tag.RowsAffected() != 1 {
		w.t.Fatalf("%d keys are forgotten, %v", tag.RowsAffected(), err)
	}
}

// TestKeyThatPostgresForgot does not send a request again whose key Postgres has lost: its outcome is unknown until it is looked up, and then counts.
func TestKeyThatPostgresForgot(t *testing.T) {
	w := newWire(t, forgetful{})
	in := w.integration("main", struct{}{})
	for _, key := range []string{"lost", "never sent", "free"} {
		if _, _, err := w.do(once(t, key), in, http.MethodPost, "/effects", key); err != nil {
			t.Fatal(err)
		}
	}
	w.forget("lost")
	w.forget("never sent")
	for range 2 {
		_, _, err := w.do(once(t, "lost"), in, http.MethodPost, "/effects", "lost")
		wantConflict(t, err, contracts.IdempotencyUnknown)
		w.wantKey("lost", "unknown")
	}
	_, _, err := w.do(once(t, "never sent"), in, http.MethodPost, "/effects", "never sent")
	wantConflict(t, err, contracts.IdempotencyUnknown)
	w.wantDone("lost", "never sent", "free")
	// Whoever has looked decides.
	for key, state := range map[string]string{"lost": "succeeded", "never sent": "failed"} {
		resolved, err := w.Store.KeyResolve(t.Context(), dbsqlc.KeyResolveParams{
			IntegrationID: uuid.MustParse(in.ID()), Key: key, State: state, ResolvedBy: "test", Now: time.Now(),
		})
		if err != nil || len(resolved) != 1 {
			t.Fatalf("%s: %v, %v", key, resolved, err)
		}
	}
	_, _, err = w.do(once(t, "lost"), in, http.MethodPost, "/effects", "lost")
	wantConflict(t, err, contracts.IdempotencySucceeded)
	if _, _, err := w.do(once(t, "never sent"), in, http.MethodPost, "/effects", "never sent"); err != nil {
		t.Error(err)
	}
	w.wantDone("lost", "never sent", "free", "never sent")
}
