package tokenrefresher_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
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

// misleading is a provider whose users are sent to whatever address.
type misleading struct {
	mail
	address string
}

func (m misleading) AuthorizationURL(context.Context, *contracts.Integration, string, string) (string, error) {
	return m.address, nil
}

// An address that no browser takes is refused here, with a page that the user can read.
func TestAddressesOfNoBrowser(t *testing.T) {
	for _, address := range []string{"https://accounts.example/#\x15x", "https://accounts.example/#a\r\nb", "javascript:alert(1)"} {
		t.Run(address, func(t *testing.T) {
			f := start(t, func(c *platform.Config) { c.Providers["misleading"] = misleading{c.Providers["mail"].(mail), address} })
			link, err := f.ConnectIntegration(t.Context(), api.ConnectIntegration{Integration: f.create("one", "misleading", nil).String(), By: "ann"})
			if err != nil {
				t.Fatal(err)
			}
			if status, page := open(t, browser(t), link.URL); status != http.StatusServiceUnavailable {
				t.Errorf("the link answers %d: %s", status, page)
			}
		})
	}
}
