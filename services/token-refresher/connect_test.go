package tokenrefresher_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/events"
)

// flow is an authorization on the way back from the upstream.
type flow struct {
	browser  *http.Client
	callback *url.URL
}

// begin opens a link, and goes to the upstream and back, but not through the door.
func (f *fixture) begin(id uuid.UUID) *flow {
	f.t.Helper()
	link, err := f.ConnectIntegration(f.t.Context(), api.ConnectIntegration{Integration: id.String(), By: "ann"})
	if err != nil {
		f.t.Fatal(err)
	}
	b := browser(f.t)
	b.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(req.URL.Path, "/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, err := b.Get(link.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	_ = resp.Body.Close()
	callback, err := resp.Location()
	if err != nil {
		f.t.Fatalf("no way back from %s: %v", resp.Request.URL, err)
	}
	return &flow{browser: b, callback: callback}
}

// with is the callback with a parameter changed; an empty value takes it out.
func (fl *flow) with(name, value string) string {
	u, query := *fl.callback, fl.callback.Query()
	if query.Set(name, value); value == "" {
		query.Del(name)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// open is what a browser gets to see.
func open(t *testing.T, b *http.Client, address string) (status int, page string) {
	t.Helper()
	resp, err := b.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A user connects an integration that was held; it goes on, and the same callback does nothing more.
func TestConnect(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", nil)
	f.await("the integration to be held", func() bool { return f.status(id) == "reauth-required" })
	flow := f.begin(id)
	if status, page := open(t, flow.browser, flow.callback.String()); status != http.StatusOK {
		t.Fatalf("the callback answers %d: %s", status, page)
	}
	if told := f.event(events.OAuthConnected); told["by"] != "ann" {
		t.Errorf("the event is %v", told)
	}
	f.await("the integration to go on", func() bool { return f.status(id) == "active" })
	if got := f.credentials(id); got["access_token"] == nil || got["refresh_token"] == nil || got["client_id"] != "mail" {
		t.Errorf("the credentials are %v", got)
	}
	before := f.credentials(id)["access_token"]
	if status, _ := open(t, flow.browser, flow.callback.String()); status != http.StatusBadRequest {
		t.Errorf("a replay is answered %d", status)
	}
	if f.credentials(id)["access_token"] != before {
		t.Error("a replay changed the tokens")
	}
}

// A grant that was lost is mended by its user, and what the scheduler had put aside goes on.
func TestConnectAgain(t *testing.T) {
	f := start(t, nil)
	dead := f.soon()
	dead.RefreshToken = "never-issued"
	id := f.create("one", "mail", dead)
	woken := f.waiting(id)
	f.awaitState(id, "reauth-required")
	if told := f.event(events.IncidentOpened); told["source"] != "token" {
		t.Errorf("the incident is %v", told)
	}
	_, err := f.Command(t.Context(), events.VerbResume, resume(id))
	if api.CodeOf(err) != api.Refused || !strings.Contains(err.Error(), "connect") {
		t.Errorf("to resume it without its user: %v", err)
	}
	flow := f.begin(id)
	if status, page := open(t, flow.browser, flow.callback.String()); status != http.StatusOK {
		t.Fatalf("the callback answers %d: %s", status, page)
	}
	f.event(events.IncidentClosed)
	f.await("the integration to go on", func() bool { return f.status(id) == "active" })
	f.await("what waits for the token to be woken", woken)
}

// TestConnectWithLostKey asks for a link though the credentials can't be opened: the answer says what to do, and no user is sent on a way without an end.
func TestConnectWithLostKey(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", nil)
	if _, err := f.pool.Exec(t.Context(), "update credentials set key_id = 'lost' where integration_id = $1", id); err != nil {
		t.Fatal(err)
	}
	_, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: "one", By: "ann"})
	if api.CodeOf(err) != api.Refused || !strings.Contains(err.Error(), "lost") || !strings.Contains(err.Error(), "integrations update one --credentials-file") {
		t.Errorf("got the error %q (%s)", err, api.CodeOf(err))
	}
	credentials := json.RawMessage(`{"client_id":"mail","client_secret":"secret"}`)
	if _, err := f.UpdateIntegration(t.Context(), api.UpdateIntegration{Integration: "one", Credentials: credentials}); err != nil {
		t.Fatal(err)
	}
	f.await("the new credentials to be adopted", func() bool { return f.grant(id).CredentialsVersion == f.grant(id).CredentialsNow })
	if status, page := f.authorize(id, "ann"); status != http.StatusOK {
		t.Errorf("the callback answers %d: %s", status, page)
	}
}

// A person's pause stays.
func TestConnectLeavesAPause(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", nil)
	f.await("the integration to be held", func() bool { return f.status(id) == "reauth-required" })
	if _, err := f.Command(t.Context(), events.VerbPause, resume(id)); err != nil {
		t.Fatal(err)
	}
	flow := f.begin(id)
	open(t, flow.browser, flow.callback.String())
	f.event(events.OAuthConnected)
	if got := f.status(id); got != "paused" {
		t.Errorf("the integration is %s, want it paused still", got)
	}
}

// Nobody gets in with what was not given to him.
func TestRefusedAtTheDoor(t *testing.T) {
	f := start(t, nil)
	id, other := f.create("one", "mail", nil), f.create("other", "mail", nil)
	f.awaitState(id, "missing")
	link := func(change func(path string, query url.Values) string) string {
		made, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: id.String(), By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(made.URL)
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		u.Path = change(u.Path, query)
		u.RawQuery = query.Encode()
		return u.String()
	}
	same := func(path string) string { return path }
	tests := map[string]string{
		"no signature":        f.url + "/integrations/" + id.String() + "/oauth/authorize",
		"another integration": link(func(path string, _ url.Values) string { return strings.Replace(path, id.String(), other.String(), 1) }),
		"an unknown one":      f.url + "/integrations/" + uuid.NewString() + "/oauth/authorize?expires=9999999999&by=&signature=AAAA",
		"no id":               f.url + "/integrations/one/oauth/authorize",
		"a longer life":       link(func(path string, q url.Values) string { q.Set("expires", "9999999999"); return same(path) }),
		"another person":      link(func(path string, q url.Values) string { q.Set("by", "eve"); return same(path) }),
		"a forged signature":  link(func(path string, q url.Values) string { q.Set("signature", strings.Repeat("A", 43)); return same(path) }),
		"a link for revoking": revokeLinkAs(t, f, id, "authorize"),
	}
	for name, address := range tests {
		t.Run(name, func(t *testing.T) {
			status, page := open(t, browser(t), address)
			_, unknown := open(t, browser(t), f.url+"/integrations/"+uuid.NewString()+"/oauth/authorize")
			if status != http.StatusForbidden || page != unknown {
				t.Errorf("answered %d: %s", status, page)
			}
		})
	}
}

func revokeLinkAs(t *testing.T, f *fixture, id uuid.UUID, what string) string {
	t.Helper()
	link, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: id.String(), Revoke: true})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(link.URL, "/revoke?", "/"+what+"?", 1)
}

// Nothing but the answer to this authorization, in the browser that began it and in time, connects anything.
func TestForgedCallbacks(t *testing.T) {
	f := start(t, nil)
	id, other := f.create("one", "mail", nil), f.create("other", "mail", nil)
	f.awaitState(id, "missing")
	f.awaitState(other, "missing")
	tests := map[string]struct {
		// open opens the callback in some way, and returns the answer.
		open func(t *testing.T, fl *flow) int
		want int
	}{
		"another browser": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, browser(t), fl.callback.String())
			return status
		}, http.StatusBadRequest},
		"a browser with another flow": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, f.begin(other).browser, fl.callback.String())
			return status
		}, http.StatusBadRequest},
		"a browser that makes up a cookie": {func(t *testing.T, fl *flow) int {
			t.Helper()
			b := browser(t)
			cookies := fl.browser.Jar.Cookies(fl.callback)
			for _, c := range cookies {
				c.Value = strings.Repeat("A", 43)
			}
			b.Jar.SetCookies(fl.callback, cookies)
			status, _ := open(t, b, fl.callback.String())
			return status
		}, http.StatusBadRequest},
		"another state": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, fl.browser, fl.with("state", strings.Repeat("A", 43)))
			return status
		}, http.StatusBadRequest},
		"the state of another's flow": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, fl.browser, fl.with("state", f.begin(other).callback.Query().Get("state")))
			return status
		}, http.StatusBadRequest},
		"no state": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, fl.browser, fl.with("state", ""))
			return status
		}, http.StatusBadRequest},
		"two codes": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, fl.browser, fl.callback.String()+"&code=another")
			return status
		}, http.StatusBadRequest},
		"a code of another flow": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, fl.browser, fl.with("code", f.begin(other).callback.Query().Get("code")))
			return status
		}, http.StatusBadRequest},
		"a made-up code": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, fl.browser, fl.with("code", "made-up"))
			return status
		}, http.StatusBadRequest},
		"no code": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, _ := open(t, fl.browser, fl.with("code", ""))
			return status
		}, http.StatusBadRequest},
		"another issuer": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, page := open(t, fl.browser, fl.with("iss", "https://evil.example.com"))
			if !strings.Contains(page, "wrong_issuer") {
				t.Errorf("the page is %s", page)
			}
			return status
		}, http.StatusBadRequest},
		"an error of the upstream": {func(t *testing.T, fl *flow) int {
			t.Helper()
			status, page := open(t, fl.browser, fl.with("error", "access_denied<script>"))
			if !strings.Contains(page, "access_deniedscript") || strings.Contains(page, "<script>") {
				t.Errorf("the page is %s", page)
			}
			return status
		}, http.StatusBadRequest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.open(t, f.begin(id)); got != tt.want {
				t.Errorf("answered %d, want %d", got, tt.want)
			}
			for _, id := range []uuid.UUID{id, other} {
				if f.credentials(id)["access_token"] != nil {
					t.Fatal("an integration was connected")
				}
			}
		})
	}
}

// The upstream's error is told in an event.
func TestDenied(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", nil)
	fl := f.begin(id)
	address, err := url.Parse(fl.with("error", "access_denied"))
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	query.Set("error_description", "not today")
	address.RawQuery = query.Encode()
	open(t, fl.browser, address.String())
	told := f.event(events.OAuthConnectFailed)
	if told["error"] != "access_denied" || told["description"] != "not today" || told["by"] != "ann" {
		t.Errorf("the event is %v", told)
	}
}

// An authorization has 600 s, and a link 15 minutes.
func TestExpired(t *testing.T) {
	clock := newClock()
	f := start(t, func(c *platform.Config) { c.Now = clock.now })
	id := f.create("one", "mail", nil)
	f.awaitState(id, "missing")
	fl := f.begin(id)
	link, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: id.String()})
	if err != nil {
		t.Fatal(err)
	}
	clock.add(601 * time.Second)
	if status, _ := open(t, fl.browser, fl.callback.String()); status != http.StatusBadRequest {
		t.Errorf("a callback after 601 s is answered %d", status)
	}
	clock.add(5 * time.Minute)
	if status, _ := open(t, browser(t), link.URL); status != http.StatusForbidden {
		t.Errorf("a link after more than 15 minutes is answered %d", status)
	}
	if f.credentials(id)["access_token"] != nil {
		t.Error("the integration was connected")
	}
}

// Whatever a request says, the browser goes where the configuration does.
func TestNoOpenRedirect(t *testing.T) {
	f := start(t, func(c *platform.Config) {
		c.TokenRefresher.SuccessURL, c.TokenRefresher.ErrorURL = "https://app.example.com/done?from=us", "https://app.example.com/failed"
	})
	id := f.create("one", "mail", nil)
	for _, extra := range []string{"redirect", "redirect_uri", "next", "return_to", "url", "integration"} {
		for _, failing := range []bool{false, true} {
			fl := f.begin(id)
			fl.browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			address := fl.with(extra, "https://evil.example.com")
			if failing {
				address += "&error=access_denied"
			}
			resp, err := fl.browser.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			to, err := resp.Location()
			if err != nil || to.Host != "app.example.com" || strings.Contains(to.String(), "evil") || to.Query().Get("integration") != id.String() {
				t.Errorf("with %s it goes to %v (%v)", extra, to, err)
			}
			if resp.StatusCode != http.StatusSeeOther {
				t.Errorf("answered %d", resp.StatusCode)
			}
		}
	}
}
