package tokenrefresher_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

func ringOf(t *testing.T, lines string) *secret.Ring {
	t.Helper()
	ring, err := secret.ParseRing(lines)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// A key can be removed once nothing is left: webhooks and the answers of idempotency keys are counted, and sealed anew.
func TestRotateCoversAllThatIsSealed(t *testing.T) {
	f := start(t, func(c *platform.Config) {
		c.Ring = ringOf(t, keyLine("new.v2")+","+keyLine("old"))
		c.TokenRefresher.Tick = time.Hour
	})
	id, now := f.create("one", "mail", nil), time.Now()
	old := ringOf(t, keyLine("old"))
	const webhooks, answers = 7, 5
	hooks := map[uuid.UUID]bool{}
	for i := range webhooks {
		hook := postgres.NewID()
		hooks[hook] = true
		keyID, sealed, err := old.Seal([]byte("hidden"), secret.Place{Row: hook[:]})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.pool.Exec(t.Context(), `insert into webhooks (id, integration_id, provider, delivery_id, sequence, method, path, query, headers, body, key_id, sealed,
			next_try_at, received_at, stored_at, status) values ($1, $2, 'mail', $3, $4, 'POST', '/', '', '[]', '', $5, $6, $7, $7, $7, 'processed')`,
			hook, id, fmt.Sprint("d", i), i, keyID, sealed, now)
		if err != nil {
			t.Fatal(err)
		}
	}
	earlier := postgres.New(f.pool, old)
	claim := func(i int) dbsqlc.KeyReserveParams {
		return dbsqlc.KeyReserveParams{
			IntegrationID: id, Key: fmt.Sprint("k", i), Provider: "mail", Fingerprint: []byte("f"), Owner: postgres.NewID(), LeaseUntil: now.Add(time.Hour), Now: now,
		}
	}
	for i := range answers {
		c := claim(i)
		if _, held, err := earlier.ReserveKey(t.Context(), c); held != nil || err != nil {
			t.Fatal(held, err)
		}
		settled := dbsqlc.KeySettleParams{State: postgres.KeySucceeded, IntegrationID: id, Key: c.Key, Owner: c.Owner, Now: now}
		if _, err := earlier.SettleKey(t.Context(), settled, []byte("answer")); err != nil {
			t.Fatal(err)
		}
	}
	report, err := f.Secrets(t.Context())
	if err != nil || report.Left != webhooks+answers {
		t.Errorf("the report is %+v, %v; want %d left", report, err, webhooks+answers)
	}
	sealed := 0
	for after := (*uuid.UUID)(nil); ; {
		step, err := f.RotateSecrets(t.Context(), api.RotateSecrets{After: after, Limit: 2, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		sealed += step.Sealed
		if after = step.Next; after == nil {
			break
		}
	}
	if report, err = f.Secrets(t.Context()); err != nil || report.Left != 0 || sealed != webhooks+answers {
		t.Errorf("%d sealed anew; the report is %+v, %v", sealed, report, err)
	}
	if i := slices.IndexFunc(report.Keys, func(k api.Key) bool { return k.ID == "new.v2" }); i < 0 || report.Keys[i].Sealed != webhooks+answers+1 {
		t.Errorf("the keys are %+v", report.Keys)
	}
	// What was sealed anew opens without the old key.
	alone := ringOf(t, keyLine("new.v2"))
	rows, err := f.pool.Query(t.Context(), `select id, key_id, sealed from webhooks`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var (
			hook  uuid.UUID
			keyID string
			raw   []byte
		)
		if err := rows.Scan(&hook, &keyID, &raw); err != nil {
			t.Fatal(err)
		}
		if plain, err := alone.Open(keyID, raw, secret.Place{Row: hook[:]}); err != nil || string(plain) != "hidden" {
			t.Errorf("webhook %s: %q, %v", hook, plain, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	later := postgres.New(f.pool, alone)
	for i := range answers {
		_, held, err := later.ReserveKey(t.Context(), claim(i))
		if err != nil || held == nil || string(held.Answer) != "answer" {
			t.Errorf("answer %d: %+v, %v", i, held, err)
		}
	}
}
