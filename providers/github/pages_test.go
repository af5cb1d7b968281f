package github_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/providers/github"
)

// paged serves one list of issues, whose pages are given, and no comments.
func paged(t *testing.T, page func(n int, unchanged bool) (body string, hasNext bool)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"same"`)
		if strings.HasSuffix(r.URL.Path, "/comments") {
			_, _ = w.Write([]byte("[]"))
			return
		}
		n, err := strconv.Atoi(r.URL.Query().Get("page"))
		if err != nil {
			n = 1
		}
		unchanged := n == 1 && r.Header.Get("If-None-Match") == `"same"`
		body, hasNext := page(n, unchanged)
		if hasNext {
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?q=1,2&page=%d>; title="a, b"; rel="next"`, r.Host, r.URL.Path, n+1))
		}
		if unchanged {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server
}

func issueJSON(number int) string {
	return fmt.Sprintf(`{"id":%d,"number":%d,"title":"x","state":"open","updated_at":%q,"created_at":"2024-01-01T00:00:00Z"}`,
		1000+number, number, time.Date(2024, 1, 1, 0, 0, number, 0, time.UTC).Format(time.RFC3339))
}

// TestEmptyPages follows the link of a page whose records are hidden from the caller, and gives up on an upstream that has nothing but such pages.
func TestEmptyPages(t *testing.T) {
	t.Parallel()
	server := paged(t, func(n int, _ bool) (string, bool) {
		return map[int]string{1: "[]", 2: "[" + issueJSON(1) + "]", 3: "[]", 4: "[]", 5: "[" + issueJSON(2) + "]"}[n], n < 5
	})
	in := providertest.Integration(t, github.Provider{}, github.Credentials{Token: "a-token-of-github"}, github.Metadata{Owner: "o", Repo: "r", BaseURL: server.URL}, nil)
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), in, session); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(session.IDs("github.Issue"), " "); got != "1 2" {
		t.Errorf("the sync has the issues %q, want 1 and 2", got)
	}
	endless := paged(t, func(int, bool) (string, bool) { return "[]", true })
	in = providertest.Integration(t, github.Provider{}, github.Credentials{Token: "a-token-of-github"}, github.Metadata{Owner: "o", Repo: "r", BaseURL: endless.URL}, nil)
	if err := (github.Provider{}).Sync(t.Context(), in, &providertest.Session{}); err == nil || !strings.Contains(err.Error(), "circles") {
		t.Errorf("nothing but empty pages: %v", err)
	}
}

// TestUnchangedPages adds a page behind one that stays as it is: its tag says that nothing has changed. A full page is asked for without its tag while it is the last, and
// an answer that says so may name the next page.
func TestUnchangedPages(t *testing.T) {
	t.Parallel()
	full := make([]string, 100)
	for i := range full {
		full[i] = issueJSON(i + 1)
	}
	for name, first := range map[string]string{"a full page": strings.Join(full, ","), "a page with a link": issueJSON(1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			more := false
			withLink := name == "a page with a link"
			server := paged(t, func(n int, unchanged bool) (string, bool) {
				if n > 1 {
					return "[" + issueJSON(500) + "]", false
				}
				return "[" + first + "]", more && (withLink || !unchanged)
			})
			provider := github.New()
			in := providertest.Integration(t, provider, github.Credentials{Token: "a-token-of-github"}, github.Metadata{Owner: "o", Repo: "r", BaseURL: server.URL}, nil)
			for _, want := range []bool{false, true} {
				more = want
				session := &providertest.Session{}
				if err := provider.Sync(t.Context(), in, session); err != nil {
					t.Fatal(err)
				}
				if got := slices.Contains(session.IDs("github.Issue"), "500"); got != want {
					t.Errorf("the sync has the issue on the second page: %t, want %t", got, want)
				}
			}
		})
	}
}
