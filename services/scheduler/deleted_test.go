package scheduler_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestRequestsOfADeletedIntegration deletes an integration whose request log takes several statements to remove, and logs a request of its late.
func TestRequestsOfADeletedIntegration(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	providers := map[string]contracts.Provider{"shop": shop{}}
	f.startScheduler(t, providers, func(c *platform.Config) { c.Control.Housekeeping.Sweep = 50 * time.Millisecond })
	f.awaitProviders(t, []map[string]contracts.Provider{providers})
	gone, stays := uuid.MustParse(f.mustCreate(t, newShop("gone")).ID), uuid.MustParse(f.mustCreate(t, newShop("stays")).ID)
	for _, id := range []uuid.UUID{gone, stays} {
		f.sent(t, id, time.Now(), uuid.Nil)
		f.sent(t, id, time.Now().AddDate(0, 0, -40), uuid.Nil)
	}
	copies := `create temp table copies as select r.* from requests r, generate_series(1, 1500) where r.integration_id = '` + gone.String() + `' and r.attempt = 1;
		update copies set id = gen_random_uuid(); insert into requests select * from copies; drop table copies`
	f.exec(t, copies)
	count := func(id uuid.UUID) (n int) {
		t.Helper()
		if err := f.pool.QueryRow(t.Context(), "select count(*) from requests where integration_id = $1", id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(gone); n != 3004 {
		t.Fatalf("%d requests to begin with", n)
	}
	if err := f.DeleteIntegration(t.Context(), api.DeleteIntegration{Integration: "gone", Force: true}); err != nil {
		t.Fatal(err)
	}
	await(t, "the requests to be gone", func() bool { return count(gone) == 0 })
	f.sent(t, gone, time.Now(), uuid.Nil)
	await(t, "the late request to be gone", func() bool { return count(gone) == 0 })
	if n := count(stays); n != 4 {
		t.Errorf("another integration has %d requests left of 4", n)
	}
	f.exec(t, "update deleted_integrations set deleted_at = deleted_at - interval '61 minutes'")
	await(t, "the deletion to be forgotten", func() bool {
		var n int
		if err := f.pool.QueryRow(t.Context(), "select count(*) from deleted_integrations").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}
