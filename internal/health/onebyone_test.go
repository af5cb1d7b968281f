package health_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/vitals"
)

// TestALockedIntegrationHoldsUpNoOther has another session lock one of three integrations, as an operator does who
// leaves a transaction open: what the requests of the others came to is noted, and what is of that one comes back.
func TestALockedIntegrationHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	locked, other := w.insert(t, "locked"), w.insert(t, "other")
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `select from integrations where id = $1 for update`, locked); err != nil {
		t.Fatal(err)
	}
	minute := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var reports []vitals.Report
	var counts []vitals.Count
	for _, id := range []uuid.UUID{locked, w.id, other} {
		reports = append(reports, vitals.Report{Integration: id.String(), Failed: true, Failures: 2, Error: "down"})
		counts = append(counts, vitals.Count{Integration: id.String(), Minute: minute, Upstream: 2})
	}
	reportsLeft, err := w.ReportHealth(t.Context(), reports)
	if err == nil || len(reportsLeft) != 1 || reportsLeft[0].Integration != locked.String() {
		t.Errorf("left of the reports are %+v, %v", reportsLeft, err)
	}
	countsLeft, err := w.CountRequests(t.Context(), counts)
	if err == nil || len(countsLeft) != 1 || countsLeft[0].Integration != locked.String() {
		t.Errorf("left of the counts are %+v, %v", countsLeft, err)
	}
	moved := func(id uuid.UUID) error {
		return w.CircuitMoved(t.Context(), circuit.Transition{
			Provider: "shop", Integration: id.String(),
			State: circuit.State{
				Open: true, Transition: 1, Since: minute, Reason: "failures", Until: minute.Add(time.Minute),
			},
		})
	}
	if err := moved(locked); err == nil {
		t.Error("the circuit of an integration that is locked moved")
	}
	if err := moved(other); err != nil {
		t.Error(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := w.ReportHealth(t.Context(), reportsLeft); err != nil || len(left) > 0 {
		t.Errorf("left of the reports are %+v, %v", left, err)
	}
	if left, err := w.CountRequests(t.Context(), countsLeft); err != nil || len(left) > 0 {
		t.Errorf("left of the counts are %+v, %v", left, err)
	}
	if err := moved(locked); err != nil {
		t.Error(err)
	}
	for _, id := range []uuid.UUID{locked, w.id, other} {
		row, err := w.Store.IntegrationGet(t.Context(), id)
		if err != nil || row.ConsecutiveFailures != 2 {
			t.Errorf("the integration is %+v, %v", row, err)
		}
	}
	sums, err := w.Store.RequestCountSum(t.Context(), minute.Add(-time.Hour), []uuid.UUID{locked, w.id, other})
	if err != nil || len(sums) != 3 || slices.ContainsFunc(sums, func(s *dbsqlc.RequestCountSumRow) bool {
		return s.Upstream != 2
	}) {
		t.Errorf("counted are %+v, %v", sums, err)
	}
}
