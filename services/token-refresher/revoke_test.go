package tokenrefresher_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/pkg/events"
)

func TestRevoke(t *testing.T) {
	f := start(t, nil)
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	f.server.with(func() {
		f.server.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"error":"server_error","error_description":"can't find ` + token.RefreshToken + ` now"}`))
			return false
		}
	})
	_, err := f.RevokeToken(t.Context(), api.RevokeToken{Integration: "one"})
	if api.CodeOf(err) != api.Refused || !strings.Contains(err.Error(), "can't find") || strings.Contains(err.Error(), token.RefreshToken) {
		t.Errorf("while the upstream fails: %v", err)
	}
	if f.credentials(id)["refresh_token"] == nil || f.grant(id).State != "connected" {
		t.Fatal("a revocation that failed has changed something here")
	}
	f.server.with(func() { f.server.answer = nil })
	for range 2 {
		status, err := f.RevokeToken(t.Context(), api.RevokeToken{Integration: "one", By: "ann"})
		if err != nil || status.State != "revoked" {
			t.Fatalf("revoked: %+v, %v", status, err)
		}
	}
	if got := f.credentials(id); got["access_token"] != nil || got["refresh_token"] != nil || got["token_expires_at"] != nil || got["client_id"] != "mail" {
		t.Errorf("the credentials are %v", got)
	}
	if len(f.server.revoked) != 1 || f.server.revoked[0] != token.RefreshToken {
		t.Errorf("revoked upstream: %v", f.server.revoked)
	}
	if told := f.event(events.OAuthRevoked); told["by"] != "ann" {
		t.Errorf("the event is %v", told)
	}
}

func TestRevokeLocalOnly(t *testing.T) {
	f := start(t, nil)
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	f.server.Close()
	if _, err := f.RevokeToken(t.Context(), api.RevokeToken{Integration: "one", LocalOnly: true}); err != nil {
		t.Fatal(err)
	}
	if f.credentials(id)["access_token"] != nil {
		t.Error("the token is still there")
	}
}

func TestRevokeByLink(t *testing.T) {
	f := start(t, nil)
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	for _, address := range []string{revokeLinkAs(t, f, id, "revoke"), f.url + "/integrations/" + id.String() + "/oauth/revoke"} {
		resp, err := browser(t).Post(address, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[strings.Contains(address, "signature")]; resp.StatusCode != want {
			t.Errorf("answered %d, want %d", resp.StatusCode, want)
		}
	}
	f.awaitState(id, "revoked")
}

// A link whose revocation fails works again in the browser that opened it.
func TestRevokeByLinkAgain(t *testing.T) {
	f := start(t, nil)
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	f.server.failOnce()
	link, first := revokeLinkAs(t, f, id, "revoke"), browser(t)
	post := func(client *http.Client) int {
		resp, err := client.Post(link, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if code := post(first); code != http.StatusBadRequest {
		t.Errorf("while the upstream fails: %d", code)
	}
	if code := post(browser(t)); code != http.StatusForbidden {
		t.Errorf("another browser: %d", code)
	}
	if code := post(first); code != http.StatusOK {
		t.Errorf("again: %d", code)
	}
	f.awaitState(id, "revoked")
}

// The grant of a deleted integration is revoked, whatever it takes.
func TestDeleteRevokes(t *testing.T) {
	f := start(t, nil)
	token := f.server.plant("a")
	id := f.create("one", "mail", &token)
	f.awaitState(id, "connected")
	f.server.failOnce()
	if err := f.DeleteIntegration(t.Context(), api.DeleteIntegration{Integration: "one"}); err != nil {
		t.Fatal(err)
	}
	if told := f.event(events.OAuthRevoked); told["deleted"] != true || told["error"] != nil {
		t.Errorf("the event is %v", told)
	}
	f.server.with(func() {
		if len(f.server.revoked) != 1 || f.server.revoked[0] != token.RefreshToken {
			t.Errorf("revoked upstream: %v", f.server.revoked)
		}
	})
}
