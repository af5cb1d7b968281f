package tokenrefresher_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/platform"
)

// sql carries out statements.
func sql(t *testing.T, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// settled makes an integration whose token lasts, and has goBack put Postgres back to that state.
func (f *fixture) settled() uuid.UUID {
	f.t.Helper()
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	f.remember()
	return id
}

// remember has goBack put Postgres back to the state that it is in now.
func (f *fixture) remember() {
	f.t.Helper()
	sql(f.t, f.pool, "create table then_credentials as select * from credentials",
		"create table then_grants as select * from oauth_grants")
}

// goBack puts Postgres back to the state that it remembers, and has the token refreshed or not.
func (f *fixture) goBack(due string) {
	f.t.Helper()
	// One transaction: a refresher that saw no grant in between would adopt the credentials.
	sql(f.t, f.pool, `update credentials c set key_id = t.key_id, sealed = t.sealed, version = t.version from then_credentials t where t.integration_id = c.integration_id;
		delete from oauth_grants; insert into oauth_grants select * from then_grants; update oauth_grants set due_at = `+due)
}

const dueNow = "update oauth_grants set due_at = now()"

// TestTokenThatPostgresForgot has Postgres go back to before a refresh: the refresh token that it has then is spent, and is not sent.
func TestTokenThatPostgresForgot(t *testing.T) {
	f := start(t, nil)
	id := f.settled()
	sql(t, f.pool, dueNow)
	f.await("a refresh", func() bool { return f.outcomes("refreshed") == 1 })
	newest := f.credentials(id)["refresh_token"]
	f.goBack("now()")
	f.await("the token to be put back", func() bool { return f.outcomes("restored") == 1 })
	if got := f.credentials(id)["refresh_token"]; got != newest {
		t.Errorf("the refresh token is %v, want %v", got, newest)
	}
	if got := f.grant(id); got.State != "connected" || got.CredentialsVersion != got.CredentialsNow {
		t.Errorf("the grant is %+v", got)
	}
	sql(t, f.pool, dueNow)
	f.await("a refresh with it", func() bool { return f.outcomes("refreshed") == 2 })
	if f.server.count(&f.server.reuses) != 0 || f.grant(id).State != "connected" {
		t.Errorf("a spent token was sent %d times, the grant is %s", f.server.count(&f.server.reuses), f.grant(id).State)
	}
	var audited int
	err := f.pool.QueryRow(t.Context(), "select count(*) from secret_audit where action = 'write' and why = 'put back the token that Postgres has lost'").Scan(&audited)
	if err != nil || audited != 1 {
		t.Errorf("the audit has it %d times, %v", audited, err)
	}
}

// TestPostgresGoesBackDuringARefresh has Postgres forget the lease while the upstream answers: the new token is stored nevertheless, and so is the refresh token of an
// answer that is no good.
func TestPostgresGoesBackDuringARefresh(t *testing.T) {
	for name, bad := range map[string]string{"a token": "", "a bad answer": `{"access_token":"access-%[1]d","refresh_token":"refresh-%[1]d","token_type":"mac"}`} {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			id := f.settled()
			f.server.with(func() {
				f.server.after = func(w http.ResponseWriter, r *http.Request) bool {
					f.server.after = nil
					f.goBack("null")
					return bad == "" || f.saying(bad)(w, r)
				}
			})
			sql(t, f.pool, dueNow)
			f.await("the token to be put back", func() bool { return f.outcomes("restored") == 1 })
			if got := f.credentials(id)["refresh_token"]; got != "refresh-2" {
				t.Errorf("the refresh token is %v, want the second", got)
			}
			sql(t, f.pool, dueNow)
			f.await("a refresh with it", func() bool { return f.outcomes("refreshed") == 1 })
			if n := f.server.count(&f.server.reuses); n != 0 {
				t.Errorf("a spent token was sent %d times", n)
			}
		})
	}
}

// TestStartPutsTokensBack starts a process on a database that went back, while no refresh is due.
func TestStartPutsTokensBack(t *testing.T) {
	f := start(t, nil)
	id := f.settled()
	sql(t, f.pool, dueNow)
	f.await("a refresh", func() bool { return f.outcomes("refreshed") == 1 })
	newest := f.credentials(id)["refresh_token"]
	f.goBack("null")
	if got := f.credentials(id)["refresh_token"]; got == newest {
		t.Fatal("Postgres did not go back")
	}
	f.startAnother()
	f.await("the token to be put back", func() bool { return f.credentials(id)["refresh_token"] == newest })
}

// TestAuthorizationThatPostgresForgot has Postgres go back to before a user has authorized, who is not asked again.
func TestAuthorizationThatPostgresForgot(t *testing.T) {
	for name, fleeting := range map[string]bool{"with a refresh token": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			f.server.with(func() { f.server.fleeting = fleeting })
			id := f.create("one", "mail", nil)
			f.await("the integration to be held", func() bool { return f.status(id) == "reauth-required" })
			f.remember()
			flow := f.begin(id)
			if status, page := open(t, flow.browser, flow.callback.String()); status != http.StatusOK {
				t.Fatalf("the callback answers %d: %s", status, page)
			}
			granted := f.credentials(id)["access_token"]
			f.goBack("null")
			f.startAnother()
			f.awaitState(id, "connected")
			if got := f.credentials(id)["access_token"]; got != granted {
				t.Errorf("the access token is %v, want %v", got, granted)
			}
		})
	}
}

// startAnother starts one more process, which ends with the test.
func (f *fixture) startAnother() {
	f.t.Helper()
	config := f.config
	config.Metrics = prometheus.NewRegistry()
	another, err := platform.New(f.t.Context(), config)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(f.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- another.Run(ctx, platform.TokenRefresherService) }()
	f.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	})
}
