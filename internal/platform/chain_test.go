package platform_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// rows waits until the request log has n rows, and returns them, oldest first.
func (w *testbed) rows(n int) []*dbsqlc.RequestListRow {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		rows, err := w.Store.RequestList(w.t.Context(), dbsqlc.RequestListParams{Most: 10_000})
		if err != nil {
			w.t.Fatal(err)
		}
		if len(rows) >= n || time.Now().After(deadline) {
			if len(rows) != n {
				w.t.Errorf("%d rows are in the request log, want %d", len(rows), n)
			}
			slices.Reverse(rows)
			return rows
		}
	}
}

// row is what is compared of one.
type row struct {
	Attempt, Status int
	Class, Path     string
	Linked          bool
}

func summarized(rows []*dbsqlc.RequestListRow) (all []row) {
	first := map[string]uuid.UUID{}
	for _, r := range rows {
		if r.Attempt == 1 {
			first[r.Path] = r.ID
		}
		status := 0
		if r.Status != nil {
			status = int(*r.Status)
		}
		all = append(all, row{int(r.Attempt), status, r.FailureClass, r.Path, r.FirstID == first[r.Path]})
	}
	return all
}

// Every attempt that leaves is a row: those that are answered, those that are not, and each hop of a redirect.
func TestEveryAttemptIsARow(t *testing.T) {
	w := newWire(t, discreet{})
	in := w.integration("main", discreetCredentials{Key: "0123456789"})
	ctx := contracts.WithAttempts(t.Context(), 3)
	w.Next(2, upstream.Header("Retry-After", "0"))
	w.Next(1, upstream.ServerError(http.StatusBadGateway))
	w.Next(2, upstream.ServerError(http.StatusServiceUnavailable))
	if status, _, err := w.do(ctx, in, http.MethodGet, "/json/10", ""); err != nil || status != http.StatusOK {
		t.Errorf("%d, %v", status, err)
	}
	w.Calm()
	if status, _, err := w.do(ctx, in, http.MethodPost, "/to?/effects", "pay"); err != nil || status != http.StatusCreated {
		t.Errorf("%d, %v", status, err)
	}
	w.Next(1, upstream.ResetRead())
	if _, _, err := w.do(contracts.WithAttempts(ctx, 1), in, http.MethodPost, "/echo", "lost"); err == nil {
		t.Error("no error")
	}
	w.Calm()
	w.Next(1, upstream.TooManyRequests(time.Minute))
	if _, _, err := w.do(ctx, in, http.MethodPost, "/json/20", ""); err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff([]row{
		{1, 502, "upstream", "/json/10", true},
		{2, 503, "upstream", "/json/10", true},
		{3, 200, "", "/json/10", true},
		{1, 307, "", "/to", true},
		{1, 201, "", "/effects", true},
		{1, 0, "upstream", "/echo", true},
		{1, 429, "throttle", "/json/20", true},
	}, summarized(w.rows(7))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// What has not left is no row: it is counted.
func TestRefusalsAreNoRows(t *testing.T) {
	w := newWire(t, discreet{})
	in := w.integration("main", discreetCredentials{Key: "0123456789"})
	w.Next(1, upstream.TooManyRequests(time.Minute))
	for range 4 {
		_, _, err := w.do(t.Context(), in, http.MethodGet, "/json/10", "")
		if deferral, ok := contracts.AsDeferral(err); !ok || deferral.Delay < 50*time.Second || deferral.Delay > time.Minute {
			t.Errorf("the error is %v", err)
		}
	}
	w.rows(1)
	if n := len(w.requests()); n != 1 {
		t.Errorf("the upstream was asked %d times, want once", n)
	}
}

// TestRowsAreWhatTheUpstreamSaw sends requests through random faults from many goroutines. Whatever becomes of them, the log has as many rows as the
// upstream has had requests.
func TestRowsAreWhatTheUpstreamSaw(t *testing.T) {
	w := newWire(t, discreet{})
	in := w.integration("main", discreetCredentials{Key: "0123456789"})
	for _, fault := range []upstream.Fault{
		upstream.Header("Retry-After", "0"), upstream.ServerError(http.StatusBadGateway), upstream.ResetUnread(), upstream.LoseAnswer(), upstream.Garbage(),
		upstream.CutBody(), upstream.WrongLength(7), upstream.ExpiredToken(),
	} {
		w.Chance(0.1, fault)
	}
	done := make(chan struct{})
	const clients, each = 8, 20
	for c := range clients {
		go func() {
			for n := range each {
				ctx := contracts.WithAttempts(context.WithoutCancel(t.Context()), 1+n%2)
				// A request without an answer is none the less one.
				_, _, _ = w.do(ctx, in, http.MethodPost, fmt.Sprintf("/effects/%d/%d", c, n), strings.Repeat("x", n*1000))
			}
			done <- struct{}{}
		}()
	}
	for range clients {
		<-done
	}
	w.rows(len(w.requests()))
}
