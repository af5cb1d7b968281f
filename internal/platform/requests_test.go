package platform

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestRequestRows(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	writer := requestStore{postgres.NewRequestWriter(store)}
	at := time.Date(2026, 3, 29, 23, 30, 0, 0, time.UTC)
	integration, run := uuid.NewString(), uuid.NewString()
	row := func(n int) requestlog.Row {
		return requestlog.Row{
			ID: postgres.NewID(), At: at.Add(time.Duration(n) * time.Hour), Integration: integration, Provider: "p",
			Attempt: 1, Method: "GET", Host: "h", Path: "/", RequestHeader: "{}", ResponseHeader: "{}",
		}
	}
	rows := []requestlog.Row{row(0), row(1), row(1), row(1)}
	rows[1].Origin, rows[1].IdempotencyKey, rows[1].Status = requestlog.Origin{Run: run, Item: "i", Webhook: "w"},
		"order 7", 503
	rows[1].Class, rows[1].Error, rows[1].Duration, rows[1].ResponseBody,
		rows[1].ResponseCut = contracts.FailureUpstream, "busy", 1500*time.Microsecond,
		foreign.Clean(strings.Repeat("é", 30_000), 1<<20), true
	for i := range rows {
		rows[i].First = rows[i].ID
	}
	rows[2].First, rows[2].Attempt = rows[1].ID, 2
	ctx := t.Context()
	// A write whose answer is lost is repeated.
	for range 2 {
		if err := writer.InsertRequests(ctx, rows); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.RequestGet(ctx, rows[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.RunID == nil || got.RunID.String() != run || got.Status == nil || *got.Status != 503 ||
		got.Duration != rows[1].Duration || got.ResponseBody != rows[1].ResponseBody.String() ||
		!got.CreatedAt.Equal(rows[1].At) {
		t.Errorf("the row is %+v", got)
	}
	if other, err := store.RequestGet(ctx, rows[0].ID); err != nil || other.RunID != nil || other.Status != nil {
		t.Errorf("the row is %+v, %v", other, err)
	}
	attempts, err := store.RequestAttempts(ctx, rows[1].ID)
	if err != nil || len(attempts) != 2 || attempts[1].ID != rows[2].ID {
		t.Errorf("the attempts are %v, %v", attempts, err)
	}
	byKey, err := store.RequestList(ctx, dbsqlc.RequestListParams{IdempotencyKey: "order 7", Most: 10})
	if err != nil || len(byKey) != 1 || byKey[0].ID != rows[1].ID {
		t.Errorf("by its key: %v, %v", byKey, err)
	}
	// What is dropped is made anew when a late row comes.
	dropped, err := store.DropRequestPartitions(ctx, at.AddDate(0, 0, 1), false)
	if err != nil || len(dropped) != 1 || dropped[0].Format(time.DateOnly) != "2026-03-29" {
		t.Fatalf("dropped %v, %v", dropped, err)
	}
	if _, err := store.RequestGet(ctx, rows[0].ID); !postgres.NotFound(err) {
		t.Errorf("a row of a dropped day: %v", err)
	}
	late := row(0)
	late.First = late.ID
	if err := writer.InsertRequests(ctx, []requestlog.Row{late}); err != nil {
		t.Error(err)
	}
	bad := row(0)
	bad.ResponseBody = "\x00"
	if err := writer.InsertRequests(ctx, []requestlog.Row{bad}); err != nil {
		t.Errorf("a row with a byte that Postgres has no place for gets %v", err)
	}
	if kept, err := store.RequestGet(ctx, bad.ID); err != nil || kept.ResponseBody != "\ufffd" {
		t.Errorf("it is kept as %+v, %v; want U+FFFD for the byte", kept, err)
	}
	// A key larger than an index takes can't be repaired.
	bad = row(0)
	random := make([]byte, 1<<16)
	_, _ = rand.Read(random)
	bad.IdempotencyKey = hex.EncodeToString(random)
	if err := writer.InsertRequests(ctx, []requestlog.Row{bad}); !errors.Is(err, requestlog.ErrRowRefused) {
		t.Errorf("a bad row gets %v", err)
	}
}

// Several processes make the same partitions while others read and write.
func TestPartitionsAtOnce(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	at := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	failed := make(chan error, 8)
	for range cap(failed) {
		go func() { failed <- store.MakeRequestPartitions(context.WithoutCancel(t.Context()), at, 3) }()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	days, err := store.DropRequestPartitions(t.Context(), at.AddDate(0, 0, 2), true)
	if err != nil || len(days) != 2 || !slices.IsSortedFunc(days, time.Time.Compare) {
		t.Errorf("%v, %v", days, err)
	}
}
