package tokenrefresher_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/events"
)

// authorize has a user authorize who is signed in at the upstream as somebody.
func (f *fixture) authorize(id uuid.UUID, as string) (status int, page string) {
	f.t.Helper()
	f.server.with(func() { f.server.account = as })
	flow := f.begin(id)
	return open(f.t, flow.browser, flow.callback.String())
}

func (f *fixture) account(id uuid.UUID) string {
	f.t.Helper()
	row, err := f.store.IntegrationGet(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	if known := health.KnownIdentity(row); known != nil {
		return known.ID
	}
	return ""
}

// TestAnotherAccount has somebody else authorize an integration again: it stays with the account that it was connected to, until it is revoked.
func TestAnotherAccount(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "club", nil)
	f.await("the integration to be held", func() bool { return f.status(id) == "reauth-required" })
	if status, page := f.authorize(id, "ann"); status != http.StatusOK {
		t.Fatalf("the callback answers %d: %s", status, page)
	}
	if told := f.event(events.OAuthConnected); told["account"] != "id-of-ann" || told["refreshable"] != true || f.account(id) != "id-of-ann" {
		t.Errorf("the event is %v, the account %q", told, f.account(id))
	}
	before := f.credentials(id)["access_token"]
	status, page := f.authorize(id, "bob")
	if status != http.StatusBadRequest || !strings.Contains(page, "other_account") || !strings.Contains(page, "signed in as bob") || !strings.Contains(page, "belongs to ann") {
		t.Errorf("the callback answers %d: %s", status, page)
	}
	if told := f.event(events.OAuthConnectFailed); told["error"] != "other_account" {
		t.Errorf("the event is %v", told)
	}
	if f.credentials(id)["access_token"] != before || f.account(id) != "id-of-ann" {
		t.Errorf("the integration has the tokens of %s", f.account(id))
	}
	if status, page := f.authorize(id, ""); status != http.StatusOK {
		t.Errorf("while the upstream does not say who it is, the callback answers %d: %s", status, page)
	}
	if _, err := f.RevokeToken(t.Context(), api.RevokeToken{Integration: id.String()}); err != nil {
		t.Fatal(err)
	}
	if status, page := f.authorize(id, "bob"); status != http.StatusOK || f.account(id) != "id-of-bob" {
		t.Errorf("after it was revoked the callback answers %d: %s; the account is %q", status, page, f.account(id))
	}
}

// TestNoRefreshToken warns a user whose access can't be renewed.
func TestNoRefreshToken(t *testing.T) {
	for name, page := range map[string]string{"the page": "", "the application's page": "https://app.example/done?x=1"} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(c *platform.Config) { c.TokenRefresher.SuccessURL = page })
			id := f.create("one", "mail", nil)
			f.server.with(func() { f.server.fleeting = true })
			flow := f.begin(id)
			flow.browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, err := flow.browser.Get(flow.callback.String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if told := f.event(events.OAuthConnected); told["refreshable"] != nil || told["expires_at"] == nil {
				t.Errorf("the event is %v", told)
			}
			if page != "" {
				to, err := resp.Location()
				if err != nil {
					t.Fatal(err)
				}
				ends, err := time.Parse(time.RFC3339, to.Query().Get("ends"))
				if err != nil || ends.Before(time.Now().Add(50*time.Minute)) || to.Query().Get("x") != "1" {
					t.Errorf("sent to %s", to)
				}
				return
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(body), "you will have to authorize again") {
				t.Errorf("the page says %s", body)
			}
		})
	}
}
