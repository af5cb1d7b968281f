package scheduler_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// sent writes attempts of one request into the log, the first of which failed, and returns their ids.
func (f *fixture) sent(t *testing.T, integration uuid.UUID, at time.Time, run uuid.UUID) []uuid.UUID {
	t.Helper()
	first, second := postgres.NewID(), postgres.NewID()
	ids := []uuid.UUID{first, second}
	two := func(text string) []string { return []string{text, text} }
	words := func(text foreign.Text) []foreign.Text { return []foreign.Text{text, text} }
	err := postgres.NewRequestWriter(f.store).Write(t.Context(), dbsqlc.RequestInsertManyParams{
		Ids: ids, CreatedAts: []time.Time{at, at}, IntegrationIds: []uuid.UUID{integration, integration}, Providers: two("shop"), RunIds: []uuid.UUID{run, run},
		Items: two("i/1"), Webhooks: two(""), Attempts: []int32{1, 2}, FirstIds: []uuid.UUID{first, first}, IdempotencyKeys: two("order 7"), Methods: words("POST"),
		Hosts: words("api.example.com"), Paths: words("/orders"), Queries: words(""), Statuses: []int32{0, 201}, FailureClasses: []string{"upstream", ""},
		Errors: []foreign.Text{"cut", ""}, UpstreamIds: []foreign.Text{"", "up-1"}, Durations: []time.Duration{time.Second, 1500 * time.Microsecond},
		RequestHeaders: two("{}"), ResponseHeaders: []string{"", `{"A":["b"]}`}, RequestBodies: words("{}"), ResponseBodies: []foreign.Text{"", `{"id":1}`},
		RequestByteCounts: []int64{2, 2}, ResponseByteCounts: []int64{0, 8}, RequestCuts: make([]bool, 2), ResponseCuts: make([]bool, 2), BodiesDropped: make([]bool, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func (f *fixture) shop(t *testing.T) uuid.UUID {
	t.Helper()
	id, now := postgres.NewID(), time.Now()
	if _, err := f.store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{ID: id, Provider: "shop", Name: "main", Metadata: []byte("{}"), Now: now}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRequestsAPI(t *testing.T) {
	t.Parallel()
	f := start(t, map[string]contracts.Provider{"shop": shop{}})
	id, run := f.shop(t), uuid.New()
	ids := f.sent(t, id, time.Now(), run)
	since := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		list api.ListRequests
		want int
	}{
		"all": {api.ListRequests{}, 2}, "of the integration": {api.ListRequests{Integration: "main"}, 2}, "of the run": {api.ListRequests{Run: run.String()}, 2},
		"of another run": {api.ListRequests{Run: uuid.NewString()}, 0}, "of the item": {api.ListRequests{Item: "i/1"}, 2}, "with the key": {api.ListRequests{IdempotencyKey: "order 7"}, 2},
		"with another key": {api.ListRequests{IdempotencyKey: "order 8"}, 0}, "with the status": {api.ListRequests{Status: 201}, 1}, "failed": {api.ListRequests{Failed: true}, 1},
		"of the class": {api.ListRequests{Class: "upstream"}, 1}, "since": {api.ListRequests{Since: &since}, 0}, "after the newest": {api.ListRequests{Before: ids[1].String()}, 1},
	} {
		page, err := f.Requests(t.Context(), test.list)
		if err != nil || len(page.Requests) != test.want {
			t.Errorf("%s: %d, %v; want %d", name, len(page.Requests), err, test.want)
		}
	}
	if page, err := f.Requests(t.Context(), api.ListRequests{Limit: 1}); err != nil || page.Next != ids[1].String() {
		t.Errorf("a page goes on after %q, %v", page.Next, err)
	}
	if _, err := f.Requests(t.Context(), api.ListRequests{Class: "odd"}); api.CodeOf(err) != api.Invalid {
		t.Errorf("an odd class: %v", err)
	}
	for _, id := range ids {
		got, err := f.Request(t.Context(), id.String())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Details.Attempts) != 2 || got.FirstID != ids[0].String() || got.Integration != "main" {
			t.Errorf("the request is %+v", got)
		}
	}
	if _, err := f.Request(t.Context(), uuid.NewString()); api.CodeOf(err) != api.NotFound {
		t.Errorf("a request that is not there: %v", err)
	}
}

func TestKeysAPI(t *testing.T) {
	t.Parallel()
	f := start(t, map[string]contracts.Provider{"shop": shop{}})
	id := f.shop(t)
	reserve := func(key string, lease time.Duration) *postgres.HeldKey {
		_, held, err := f.store.ReserveKey(t.Context(), dbsqlc.KeyReserveParams{
			IntegrationID: id, Key: key, Provider: "shop", Fingerprint: []byte("f"), Owner: uuid.New(), Now: time.Now(), LeaseUntil: time.Now().Add(lease),
		})
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	reserve("lost", -time.Second)
	reserve("under way", time.Hour)
	keys, err := f.Keys(t.Context(), api.ListKeys{Integration: "main"})
	if err != nil || len(keys.Keys) != 1 || keys.Keys[0].Key != "lost" {
		t.Errorf("the keys are %+v, %v", keys, err)
	}
	if err := f.ResolveKey(t.Context(), api.ResolveKey{Integration: "main", Key: "under way", As: "failed", By: "me"}); api.CodeOf(err) != api.Refused {
		t.Errorf("a key that is under way is resolved: %v", err)
	}
	if err := f.ResolveKey(t.Context(), api.ResolveKey{Integration: "main", Key: "never used", As: "failed", By: "me"}); api.CodeOf(err) != api.NotFound {
		t.Errorf("a key that is not there is resolved: %v", err)
	}
	if err := f.ResolveKey(t.Context(), api.ResolveKey{Integration: "main", Key: "lost", As: "reserved", By: "me"}); api.CodeOf(err) != api.Invalid {
		t.Errorf("a key is resolved as reserved: %v", err)
	}
	if err := f.ResolveKey(t.Context(), api.ResolveKey{Integration: "main", Key: "lost", As: "failed", By: "me", Note: "not in their books"}); err != nil {
		t.Error(err)
	}
	if held := reserve("lost", time.Hour); held != nil {
		t.Errorf("the key is still held: %+v", held)
	}
	for _, skip := range []int{-1, math.MaxInt32 + 1} {
		if _, err := f.Keys(t.Context(), api.ListKeys{Skip: skip}); api.CodeOf(err) != api.Invalid {
			t.Errorf("skipping %d keys is answered with %v", skip, err)
		}
	}
	if keys, err := f.Keys(t.Context(), api.ListKeys{All: true}); err != nil || len(keys.Keys) != 2 {
		t.Errorf("the keys are %+v, %v", keys, err)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	f := &fixture{nc: server.Connect(), pool: pgtest.DB(t)}
	f.Client, f.store = api.New(f.nc, 20*time.Second), postgres.New(f.pool, testRing(t))
	if _, err := f.pool.Exec(t.Context(), `insert into cached_answers values ('k', 'v', '{}', '', '', now(), now(), now() - interval '1 day')`); err != nil {
		t.Fatal(err)
	}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = server.Connect(), f.pool, testRing(t), map[string]contracts.Provider{"shop": shop{}}
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	run(t, built, platform.SchedulerService)
	// It prunes when it starts; what is last to be pruned is gone when that is over.
	for left := 1; left > 0; {
		if err := f.pool.QueryRow(t.Context(), `select count(*) from cached_answers`).Scan(&left); err != nil {
			t.Fatal(err)
		}
	}
	f.awaitProviders(t, []map[string]contracts.Provider{config.Providers})
	id, old := f.shop(t), time.Now().AddDate(0, 0, -91)
	f.sent(t, id, old, uuid.Nil)
	young := f.sent(t, id, time.Now(), uuid.Nil)
	for key, state := range map[string]string{"done": "succeeded", "free": "failed", "lost": "unknown"} {
		_, err := f.pool.Exec(t.Context(), `insert into idempotency_keys (integration_id, key, hop, provider, fingerprint, state, owner, lease_until, created_at, updated_at)
			values ($1, $2, 0, 'shop', '', $3, gen_random_uuid(), $4, $4, $4)`, id, key, state, old)
		if err != nil {
			t.Fatal(err)
		}
	}
	// Of three hours, one is too old, and of their minutes two.
	_, err = f.pool.Exec(t.Context(), `insert into request_counts (integration_id, grain, starts_at, succeeded, upstream, throttle, client, unknown, cached, duration_ms)
		select $1, grain, date_trunc(grain, now() - age), 1, 0, 0, 0, 0, 0, 1
		from unnest(array['minute', 'hour']) grain, unnest(array[interval '1 hour', '2 days', '40 days']) age`, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, true, false} {
		got, err := f.Prune(t.Context(), api.Prune{DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		want := []api.PrunedTable{
			{Table: "requests", Days: 90, Partitions: []string{old.UTC().Format(time.DateOnly)}},
			{Table: "idempotency_keys", Days: 90, Rows: 2},
			{Table: "dead_items", Days: 30},
			{Table: "sync_runs", Days: 30},
			{Table: "webhooks", Days: 30},
			{Table: "operations", Days: 365},
			{Table: "incidents", Days: 365},
			{Table: "request_counts", Days: 31, Rows: 3},
			{Table: "cached_answers"},
		}
		if diff := cmp.Diff(want, got.Tables); diff != "" || got.More {
			t.Errorf("dry %v: more %v (-want +got):\n%s", dry, got.More, diff)
		}
	}
	if page, err := f.Requests(t.Context(), api.ListRequests{}); err != nil || len(page.Requests) != 2 || page.Requests[0].ID != young[1].String() {
		t.Errorf("what is left is %+v, %v", page, err)
	}
	// What nobody knows is not forgotten.
	if keys, err := f.Keys(t.Context(), api.ListKeys{}); err != nil || len(keys.Keys) != 1 || keys.Keys[0].Key != "lost" {
		t.Errorf("the keys are %+v, %v", keys, err)
	}
}
