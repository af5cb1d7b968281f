package platform_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// forgetful is a provider whose upstream knows no idempotency keys.
type forgetful struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (forgetful) Name() string { return "Forgetful" }

// remembering is one whose upstream does.
type remembering struct{ forgetful }

func (remembering) SupportsIdempotency() {}

// once is a context for a request that is sent once, with a key.
func once(t *testing.T, key string) context.Context {
	t.Helper()
	ctx, err := contracts.WithIdempotencyKey(contracts.WithAttempts(t.Context(), 1), key)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// wantConflict wants a typed conflict of a state, as a deferral or for good.
func wantConflict(t *testing.T, err error, state contracts.IdempotencyState) {
	t.Helper()
	conflict, ok := errors.AsType[*contracts.IdempotencyConflictError](err)
	if !ok || conflict.State != state {
		t.Errorf("the error is %v, want a conflict with a key that is %s", err, state)
		return
	}
	if _, deferred := contracts.AsDeferral(err); deferred != (state == contracts.IdempotencyReserved) || contracts.IsPermanent(err) == deferred {
		t.Errorf("the conflict with a key that is %s is deferred %v, permanent %v", state, deferred, contracts.IsPermanent(err))
	}
}

func (w *testbed) wantDone(bodies ...string) {
	w.t.Helper()
	if diff := cmp.Diff(bodies, w.Done()); diff != "" {
		w.t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestSecondRequestGetsTheFirstAnswer(t *testing.T) {
	w := newWire(t, remembering{})
	in := w.integration("main", struct{}{})
	for n := range 3 {
		status, body, err := w.do(once(t, "order 7"), in, http.MethodPost, "/effects", "pay 7")
		if err != nil || status != http.StatusCreated || body != `{"id":1,"of":"pay 7"}` {
			t.Fatalf("request %d: %d %q, %v", n+1, status, body, err)
		}
	}
	w.wantDone("pay 7")
	if sent := w.requests(); len(sent) != 1 || sent[0].Header.Get("Idempotency-Key") != "order 7" {
		t.Errorf("the upstream was sent %d requests", len(sent))
	}
	if _, _, err := w.do(once(t, "order 7"), in, http.MethodPost, "/effects", "pay 8"); !errors.Is(err, contracts.ErrIdempotencyMismatch) || !contracts.IsPermanent(err) {
		t.Errorf("another request with the key gets %v", err)
	}
	if _, _, err := w.do(once(t, "order 7"), in, http.MethodPost, "/echo", "pay 7"); !errors.Is(err, contracts.ErrIdempotencyMismatch) {
		t.Errorf("another path with the key gets %v", err)
	}
	// Another integration has keys of its own.
	if _, _, err := w.do(once(t, "order 7"), w.integration("other", struct{}{}), http.MethodPost, "/echo", "x"); err != nil {
		t.Error(err)
	}
	var plain bool
	if err := w.pool.QueryRow(t.Context(), `select bool_or(position('pay 7'::bytea in sealed) > 0) from idempotency_keys`).Scan(&plain); err != nil || plain {
		t.Errorf("the answer is stored in clear: %v, %v", plain, err)
	}
}

func TestKeyIsFreeAfterADefiniteFailure(t *testing.T) {
	w := newWire(t, forgetful{})
	in := w.integration("main", struct{}{})
	for _, fails := range []int{http.StatusUnprocessableEntity, http.StatusNotImplemented} {
		w.Next(1, upstream.ServerError(fails))
		if status, _, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a"); err != nil || status != fails {
			t.Fatalf("%d, %v", status, err)
		}
	}
	if _, _, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "another"); err != nil {
		t.Error(err)
	}
	w.Next(1, upstream.TooManyRequests(time.Minute))
	for range 2 {
		if _, _, err := w.do(once(t, "throttled"), in, http.MethodPost, "/effects", "a"); err == nil {
			t.Error("a throttled request is not deferred")
		}
		w.wantKey("throttled", "failed")
	}
	w.wantDone("another")
}

func TestNothingListens(t *testing.T) {
	w := newWire(t, forgetful{})
	in := w.integration("main", struct{}{})
	w.server.Close()
	if _, _, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a"); err == nil {
		t.Fatal("a closed upstream answers")
	}
	w.wantKey("k", "failed")
}

func (w *testbed) wantKey(key, state string) {
	w.t.Helper()
	rows, err := w.Store.KeyList(w.t.Context(), dbsqlc.KeyListParams{Key: key, AllOfThem: true, Most: 10})
	if err != nil || len(rows) == 0 || rows[0].State != state {
		w.t.Errorf("the key is %+v, %v; want %s", rows, err, state)
	}
}

// An upstream that recognises keys is asked again; one that does not is left alone until somebody has looked.
func TestAmbiguousFailure(t *testing.T) {
	for name, fault := range map[string]upstream.Fault{"lost answer": upstream.LoseAnswer(), "failure": upstream.ServerError(http.StatusBadGateway), "cut body": upstream.CutBody()} {
		t.Run("recognised, "+name, func(t *testing.T) {
			w := newWire(t, remembering{})
			in := w.integration("main", struct{}{})
			w.Next(1, fault)
			status, _, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a")
			if err == nil && status < 500 {
				t.Fatalf("%d, %v", status, err)
			}
			w.wantKey("k", "unknown")
			if status, body, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a"); err != nil || status != http.StatusCreated || body != `{"id":1,"of":"a"}` {
				t.Errorf("%d %q, %v", status, body, err)
			}
			w.wantDone("a")
			w.wantKey("k", "succeeded")
		})
		t.Run("not recognised, "+name, func(t *testing.T) {
			w := newWire(t, forgetful{})
			in := w.integration("main", struct{}{})
			w.Next(1, fault)
			_, _, _ = w.do(once(t, "k"), in, http.MethodPost, "/effects", "a")
			effects := len(w.Done())
			for range 2 {
				_, _, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a")
				wantConflict(t, err, contracts.IdempotencyUnknown)
			}
			if sent := w.requests(); len(sent) != 1 || sent[0].Header.Get("Idempotency-Key") != "" {
				t.Errorf("the upstream was sent %d requests, with key %q", len(sent), sent[0].Header.Get("Idempotency-Key"))
			}
			if n := strings.Count(w.log.String(), "does not say that its upstream recognises keys"); n != 1 {
				t.Errorf("the log warns %d times", n)
			}
			id := in.ID()
			resolve := func(state string) {
				if _, err := w.pool.Exec(t.Context(), `update idempotency_keys set state = $1, resolved_by = 'me' where integration_id = $2`, state, id); err != nil {
					t.Fatal(err)
				}
			}
			resolve("succeeded")
			_, _, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a")
			wantConflict(t, err, contracts.IdempotencySucceeded)
			resolve("failed")
			if status, _, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a"); err != nil || status != http.StatusCreated {
				t.Errorf("after it was found to have failed: %d, %v", status, err)
			}
			if len(w.Done()) != effects+1 {
				t.Errorf("%d effects, want one more than %d", len(w.Done()), effects)
			}
		})
	}
}

// An attempt that nobody heard of is not undone by a later one that was refused.
func TestUncertaintySticks(t *testing.T) {
	w := newWire(t, remembering{})
	in := w.integration("main", struct{}{})
	w.Next(1, upstream.LoseAnswer())
	w.After(1, upstream.ServerError(http.StatusForbidden))
	if status, _, err := w.do(contracts.WithAttempts(once(t, "k"), 2), in, http.MethodPost, "/effects", "a"); err != nil || status != http.StatusForbidden {
		t.Fatalf("%d, %v", status, err)
	}
	w.wantKey("k", "unknown")
}

func TestOneOfManyIsSent(t *testing.T) {
	w := newWire(t, forgetful{})
	in := w.integration("main", struct{}{})
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			_, body, err := w.do(once(t, "k"), in, http.MethodPost, "/effects", "a")
			if err != nil {
				wantConflict(t, err, contracts.IdempotencyReserved)
			} else if body != `{"id":1,"of":"a"}` {
				t.Errorf("the answer is %q", body)
			}
		})
	}
	group.Wait()
	w.wantDone("a")
}

// A redirect is a request of its own, with the same key; both are there for the second time.
func TestKeyOverARedirect(t *testing.T) {
	w := newWire(t, remembering{})
	in := w.integration("main", struct{}{})
	for range 2 {
		if status, body, err := w.do(once(t, "k"), in, http.MethodPost, "/to?/effects", "a"); err != nil || status != http.StatusCreated || body != `{"id":1,"of":"a"}` {
			t.Fatalf("%d %q, %v", status, body, err)
		}
	}
	if sent := w.requests(); len(sent) != 2 {
		t.Errorf("the upstream was sent %d requests, want 2", len(sent))
	}
	w.wantDone("a")
}

func TestLargeAnswerIsNotKept(t *testing.T) {
	w := newWire(t, remembering{})
	in := w.integration("main", struct{}{})
	if _, body, err := w.do(once(t, "k"), in, http.MethodPost, "/json/1500000", ""); err != nil || len(body) < 1_500_000 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	_, _, err := w.do(once(t, "k"), in, http.MethodPost, "/json/1500000", "")
	wantConflict(t, err, contracts.IdempotencySucceeded)
}
