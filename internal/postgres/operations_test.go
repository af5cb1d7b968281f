package postgres_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

func TestOperations(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	one, other := insertIntegration(t, store, "one"), insertIntegration(t, store, "other")
	op := func(integration uuid.UUID, operation, status string, ended time.Time) postgres.Operation {
		return postgres.Operation{Integration: integration, Operation: operation, Status: status, Subject: "s", Started: ended.Add(-time.Second), Ended: ended}
	}
	err := store.InTx(t.Context(), func(tx *postgres.Tx) error {
		return tx.LogOperations(t.Context(),
			op(one, "sync", "succeeded", now), op(one, "sync", "failed", now), op(one, "sync", "succeeded", now),
			op(one, "webhook", "succeeded", now), op(other, "sync", "failed", now),
			op(one, "sync", "succeeded", now.Add(-2*postgres.OperationsKept)), op(one, "sync", "failed", now.Add(-postgres.OperationsKept-time.Hour)))
	})
	if err != nil {
		t.Fatal(err)
	}
	counts := func(since time.Time) map[string]int64 {
		rows, err := store.OperationCount(t.Context(), []uuid.UUID{one}, since)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, row := range rows {
			got[row.Operation+" "+row.Status] = row.Operations
		}
		return got
	}
	if diff := cmp.Diff(map[string]int64{"sync succeeded": 2, "sync failed": 1, "webhook succeeded": 1}, counts(now.Add(-time.Hour))); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	var pruned []int64
	for range 3 {
		n, err := store.OperationPrune(t.Context(), now.Add(-postgres.OperationsKept), 1)
		if err != nil {
			t.Fatal(err)
		}
		pruned = append(pruned, n)
	}
	if diff := cmp.Diff([]int64{1, 1, 0}, pruned); diff != "" {
		t.Errorf("pruned (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"sync succeeded": 2, "sync failed": 1, "webhook succeeded": 1}, counts(time.Time{})); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}
