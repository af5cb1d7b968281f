package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
)

const (
	kept      = "token-refresher: kept"
	answered  = "token-refresher: answered"
	exchanged = "token-refresher: code exchanged"
	// connected is not a crash point: nothing dies, and the store goes back once the user has authorized.
	connected = "connected"
)

// TestFailoverTokens loses the last commits of Postgres around a refresh and around an authorization.
func TestFailoverTokens(t *testing.T) {
	for _, point := range []string{"token-refresher: stored", connected} {
		t.Run(point, func(t *testing.T) { tokenRound(t, point, promotion) })
	}
}

// TestProveFailoverTokens has a token-refresher die at each of its points, and each store go back to before.
func TestProveFailoverTokens(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	points := []string{
		"token-refresher: intent written", answered, "token-refresher: stored", "token-refresher: shadow written", kept,
		exchanged, connected,
	}
	for _, point := range points {
		for _, how := range []loss{promotion, backup, snapshot} {
			t.Run(point+", "+string(how), func(t *testing.T) { tokenRound(t, point, how) })
		}
	}
}

// tokenRound expects that the newest token is in use afterwards, that no refresh token is sent twice, and that no user
// is asked to authorize again. Only an answer that died with its process costs the grant.
func tokenRound(t *testing.T, point string, how loss) {
	t.Helper()
	r := &grants{past: newPast(t, how), address: "127.0.0.1:" + freePort(t)}
	r.timing, r.patience = 2*time.Second, patiently
	r.authority = newAuthority(t, point == kept)
	r.start("scheduler")
	asked := r.listen(events.ReauthRequired)
	switch point {
	case exchanged, connected:
		r.authorizing(point)
	default:
		r.refreshing(point)
	}
	if point == answered {
		r.await("the grant to be lost", func() bool { r.refresh(); return r.state() == "reauth-required" })
		if n := r.authority.read().reused; n != 1 {
			t.Errorf("%d refresh tokens were sent twice, want the one", n)
		}
		return
	}
	before := r.authority.read().refreshed
	r.await("one more refresh", func() bool {
		if r.authority.read().refreshed == before {
			r.refresh()
			return false
		}
		return r.state() == "connected" && r.stored() == r.authority.read().newest
	})
	if n := r.authority.read().reused; n != 0 {
		t.Errorf("%d refresh tokens were sent twice", n)
	}
	if n := asked.count(""); n != 0 {
		t.Errorf("the user was asked %d times to authorize again", n)
	}
}

// grants is a world with one integration, whose user is the authority's.
type grants struct {
	*past
	authority *authority
	id        uuid.UUID
	// address is where the routes for browsers are served.
	address string
}

func (r *grants) refresher(env ...string) *process {
	r.t.Helper()
	return r.start("token-refresher", append(env, "TRIBUTARY_OAUTH_ADDR="+r.address,
		"TRIBUTARY_OAUTH_URL=http://"+r.address)...)
}

// refreshing has a process die at a point of a refresh, and the store go back to before it.
func (r *grants) refreshing(point string) {
	r.t.Helper()
	dying := r.refresher("TRIBUTARY_CRASH_AT=" + point)
	r.add(r.authority.issue())
	r.await("the grant", func() bool { return r.state() == "connected" })
	r.keep()
	r.refresh()
	<-dying.ended
	r.lose()
	r.goBack()
	r.refresher()
}

// authorizing has the store go back to before a user has authorized, with a process that dies or one that lives.
func (r *grants) authorizing(point string) {
	r.t.Helper()
	env := []string{}
	if point == exchanged {
		env = append(env, "TRIBUTARY_CRASH_AT="+point)
	}
	process := r.refresher(env...)
	r.add(nil)
	r.await("the grant to be asked for", func() bool { return r.state() == "missing" })
	r.keep()
	if point == exchanged {
		r.await("the process to die", func() bool {
			_ = r.authorize()
			select {
			case <-process.ended:
				return true
			default:
				return false
			}
		})
		r.lose()
		r.goBack()
		r.refresher()
		r.await("the user to authorize", func() bool { return r.authorize() == nil })
		return
	}
	r.await("the user to authorize", func() bool { return r.authorize() == nil })
	r.lose()
	if r.nats != nil {
		// It is Postgres that is away.
		r.await("the process to notice", func() bool {
			return strings.Contains(process.output.tail(), "look for due grants")
		})
	}
	r.goBack()
	r.await("the grant to be there again", func() bool { return r.state() == "connected" })
}

// add makes the integration, with the tokens that it has.
func (r *grants) add(tokens map[string]any) {
	r.t.Helper()
	credentials := map[string]any{"client_id": "one"}
	maps.Copy(credentials, tokens)
	sealed, err := json.Marshal(credentials)
	if err != nil {
		r.t.Fatal(err)
	}
	metadata, err := json.Marshal(feedMetadata{URL: r.authority.URL})
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now()
	r.id = postgres.NewID()
	err = r.store.InTx(r.t.Context(), func(tx *postgres.Tx) error {
		_, err := tx.IntegrationInsert(r.t.Context(), dbsqlc.IntegrationInsertParams{
			ID: r.id, Provider: "account", Name: "one", Metadata: metadata, Now: now,
		})
		if err != nil {
			return err
		}
		_, err = r.store.PutCredentials(r.t.Context(), tx, r.id, sealed, 0,
			postgres.Access{Who: "test", Why: "begin", At: now})
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// refresh has the token refreshed now, unless that is under way.
func (r *grants) refresh() {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(),
		"update oauth_grants set due_at = now() where integration_id = $1 and leased_until is null", r.id)
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *grants) state() string {
	r.t.Helper()
	grant, err := r.store.GrantGet(r.t.Context(), r.id)
	if err != nil {
		r.t.Fatal(err)
	}
	return grant.State
}

// stored is the refresh token that Postgres has.
func (r *grants) stored() string {
	r.t.Helper()
	raw, _, err := r.store.Credentials(r.t.Context(), r.id, postgres.Access{Who: "test", Why: "look", At: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	var token struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(raw, &token); err != nil {
		r.t.Fatal(err)
	}
	return token.Refresh
}

// authorize is what a user's browser does, from the link to the last page.
func (r *grants) authorize() error {
	link, err := api.New(r.nc, 20*time.Second).ConnectIntegration(r.t.Context(), api.ConnectIntegration{
		Provider: "account", Integration: r.id.String(), By: "test",
	})
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	resp, err := browser.Get(link.URL)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the last page answers %d", resp.StatusCode)
	}
	return nil
}
