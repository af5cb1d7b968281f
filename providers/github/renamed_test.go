package github_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/providers/github"
)

// TestRenamedRepository has deliveries come about a repository by its new name, and about others. GitHub is asked once, and redirects.
func TestRenamedRepository(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/demo/old", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/repositories/77", http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /repositories/77", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"id":77,"full_name":"demo/new"}`)
	})
	mux.HandleFunc("GET /repos/demo/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p := github.New()
	issue := map[string]any{"id": 9, "number": 7, "updated_at": "2026-01-01T00:00:00Z"}
	for _, c := range []struct {
		name, repo string
		repository map[string]any
		items      int
		skipped    bool
		fails      bool
	}{
		{"the new name", "old", map[string]any{"id": 77, "full_name": "demo/new"}, 1, false, false},
		{"the new name, of another owner", "old", map[string]any{"id": 77, "full_name": "other/new"}, 1, false, false},
		{"another repository", "old", map[string]any{"id": 78, "full_name": "demo/new"}, 0, true, false},
		{"no id", "old", map[string]any{"full_name": "demo/new"}, 0, true, false},
		{"a repository that is gone", "gone", map[string]any{"id": 77, "full_name": "demo/new"}, 0, true, false},
		{"while GitHub fails", "broken", map[string]any{"id": 77, "full_name": "demo/new"}, 0, false, true},
	} {
		in := providertest.Integration(t, p, hookCredentials("token"), github.Metadata{Owner: "demo", Repo: c.repo, BaseURL: server.URL}, nil)
		session := &providertest.Session{}
		req := delivery(t, "issues", map[string]any{"action": "edited", "issue": issue, "repository": c.repository})
		_, err := p.WebhookHandlers()["issues"](contracts.WithDispatcher(t.Context(), session), in, req)
		_, skipped := contracts.AsSkip(err)
		if skipped != c.skipped || (err != nil && !skipped) != c.fails || len(session.Items()) != c.items {
			t.Errorf("%s: %v, %d items", c.name, err, len(session.Items()))
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("GitHub was asked for the id %d times, want once", n)
	}
}
