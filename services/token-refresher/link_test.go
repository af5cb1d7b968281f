package tokenrefresher_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/api"
)

// A link belongs to the browser that opens it first, and ends with the authorization.
func TestLinkWorksOnce(t *testing.T) {
	f := start(t, nil)
	id := f.create("one", "mail", nil)
	link, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: id.String(), By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	begins := func(b *http.Client) bool {
		t.Helper()
		b.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(req.URL.Path, "/authorize") {
				return http.ErrUseLastResponse
			}
			return nil
		}
		resp, err := b.Get(link.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusFound && resp.StatusCode != http.StatusForbidden {
			t.Fatalf("the link answers %d", resp.StatusCode)
		}
		return resp.StatusCode == http.StatusFound
	}
	// A scanner of links asks for the head, which begins nothing.
	resp, err := http.Head(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	ann, eve := browser(t), browser(t)
	for range 2 {
		if !begins(ann) {
			t.Error("the browser that opened the link can't begin again")
		}
	}
	if begins(eve) || begins(browser(t)) {
		t.Error("the link works in another browser")
	}
	ann.CheckRedirect = nil
	if status, page := open(t, ann, link.URL); status != http.StatusOK {
		t.Fatalf("the authorization ends with %d: %s", status, page)
	}
	if begins(ann) {
		t.Error("the link works after its authorization")
	}
	other, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: id.String(), By: "ann"})
	if err != nil || other.URL == link.URL {
		t.Errorf("another link is the same one: %v", err)
	}
	if stripped := strings.Replace(other.URL, "nonce=", "other=", 1); stripped == other.URL {
		t.Error("the link has no nonce")
	} else if status, _ := open(t, browser(t), stripped); status != http.StatusForbidden {
		t.Errorf("a link without its nonce answers %d", status)
	}
}
