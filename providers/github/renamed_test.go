package github_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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
		{"a repository that is not found", "gone", map[string]any{"id": 77, "full_name": "demo/new"}, 0, false, true},
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

// TestRepositoryThatIsNotFoundForAMoment has a delivery by the new name come while GitHub does not find the repository.
// The delivery is not skipped, and its next try is handled.
func TestRepositoryThatIsNotFoundForAMoment(t *testing.T) {
	t.Parallel()
	var found atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !found.Load() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = fmt.Fprint(w, `{"id":77,"full_name":"demo/new"}`)
	}))
	t.Cleanup(server.Close)
	p := github.New()
	in := providertest.Integration(t, p, hookCredentials("token"), github.Metadata{Owner: "demo", Repo: "old", BaseURL: server.URL}, nil)
	req := delivery(t, "issues", map[string]any{
		"action": "edited", "issue": map[string]any{"id": 9, "number": 7, "updated_at": "2026-01-01T00:00:00Z"}, "repository": map[string]any{"id": 77, "full_name": "demo/new"},
	})
	session := &providertest.Session{}
	handle := func() error {
		_, err := p.WebhookHandlers()["issues"](contracts.WithDispatcher(t.Context(), session), in, req)
		return err
	}
	err := handle()
	if _, skipped := contracts.AsSkip(err); err == nil || skipped || contracts.IsPermanent(err) {
		t.Errorf("while the repository is not found: %v; want an error that is tried again", err)
	}
	found.Store(true)
	if err := handle(); err != nil || len(session.Items()) != 1 {
		t.Errorf("once it is found: %v, %d items", err, len(session.Items()))
	}
}

// TestASyncTellsOfANewName has a sync be redirected.
func TestASyncTellsOfANewName(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/demo/{repo}/", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("repo") == "old" {
			http.Redirect(w, r, "/repositories/77"+strings.TrimPrefix(r.URL.Path, "/repos/demo/old")+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		_, _ = fmt.Fprint(w, `[]`)
	})
	mux.HandleFunc("GET /repos/demo/{repo}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"id":77,"full_name":"demo/new"}`)
	})
	mux.HandleFunc("GET /repositories/77/", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `[]`) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for repo, tells := range map[string]bool{"old": true, "new": false, "NEW": false} {
		var log bytes.Buffer
		in := contracts.NewIntegration(contracts.IntegrationFields{
			ID: "1", Provider: "github", Credentials: []byte(`{"token":"t"}`), Metadata: []byte(`{"owner":"demo","repo":"` + repo + `","base_url":"` + server.URL + `"}`),
			Client: server.Client(), Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err := (github.Provider{}).Sync(t.Context(), in, &providertest.Session{}); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(log.String(), "was=demo/old is=demo/new"); told != tells {
			t.Errorf("%s: the log says %q", repo, log.String())
		}
	}
}
