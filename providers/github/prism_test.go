package github_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// TestTheUpstreamKeepsGitHubsDescription puts Prism, which knows GitHub's own description of its API, between the provider and the upstream and wants no
// request and no answer to differ from it. With TRIBUTARY_PRISM set to a folder that has the packages installed, it does not fetch them.
func TestTheUpstreamKeepsGitHubsDescription(t *testing.T) {
	prove(t)
	dir := os.Getenv("TRIBUTARY_PRISM")
	if dir == "" {
		dir = t.TempDir()
		install := exec.CommandContext(t.Context(), "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir,
			"@stoplight/prism-cli@5.14.2", "@octokit/openapi@19")
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm install: %v\n%s", err, out)
		}
	}
	address := freeAddress(t)
	// GitHub's description has no "pull_request": null, which other servers send.
	u := start(t, upstream.Options{Issues: 250, Seed: 4, NullPullRequestEvery: -1, PublicURL: "http://" + address})
	startPrism(t, dir, address, u.URL())

	watched := &watcher{}
	m := metadata(u)
	m.BaseURL = "http://" + address
	in := providertest.Integration(t, github.Provider{}, github.Credentials{Token: u.Token()}, m, &http.Client{Transport: watched})
	if err := (github.Provider{}).HealthCheck(t.Context(), in); err != nil {
		t.Errorf("health: %v", err)
	}
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), in, session); err != nil {
		t.Fatal(err)
	}
	wantAll(t, u, session)
	first := reduce(t, session)
	title := "Changed"
	if err := u.Edit(12, upstream.Change{Title: &title}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.AddComment(13, "me too"); err != nil {
		t.Fatal(err)
	}
	u.Hide(13)
	if err := (github.Provider{}).SyncIncremental(t.Context(), in, &providertest.Session{From: first}); err != nil {
		t.Fatal(err)
	}
	if watched.answers < 8 {
		t.Errorf("Prism saw %d answers only", watched.answers)
	}
	for _, violation := range watched.violations {
		t.Error(violation)
	}
}

// watcher collects what Prism finds fault with.
type watcher struct {
	mu         sync.Mutex
	answers    int
	violations []string
}

func (w *watcher) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers++
	if found := res.Header.Get("Sl-Violations"); found != "" {
		w.violations = append(w.violations, req.URL.Path+": "+found)
	}
	return res, nil
}

// startPrism proxies to the upstream until the test ends.
func startPrism(t *testing.T, dir, address, to string) {
	t.Helper()
	description := filepath.Join(dir, "trimmed.json")
	trim(t, filepath.Join(dir, "node_modules/@octokit/openapi/generated/api.github.com.json"), description)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	prism := exec.CommandContext(ctx, "node", filepath.Join(dir, "node_modules/@stoplight/prism-cli/dist/index.js"), "proxy", description, to, "--host", "127.0.0.1", "--port", port)
	var output strings.Builder
	prism.Stdout, prism.Stderr = &output, &output
	if err := prism.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = prism.Wait() // it is killed
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("%.4000s", output.String())
		}
	})
	ready := time.NewTicker(100 * time.Millisecond)
	defer ready.Stop()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		select {
		case <-ended:
			t.Fatal("Prism ended")
		case <-ready.C:
		}
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			connection.Close()
			return
		}
	}
	t.Fatal("Prism does not listen")
}

// trim leaves of an OpenAPI description only the paths in use and what they refer to, for the whole takes Prism a minute to read.
func trim(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	paths, _ := whole["paths"].(map[string]any)
	kept := map[string]any{}
	for _, path := range []string{
		"/repos/{owner}/{repo}", "/repos/{owner}/{repo}/issues", "/repos/{owner}/{repo}/issues/comments", "/repos/{owner}/{repo}/issues/{issue_number}",
	} {
		methods, ok := paths[path].(map[string]any)
		if !ok {
			t.Fatalf("the description has no path %s", path)
		}
		kept[path] = map[string]any{"get": methods["get"]}
	}
	components := map[string]any{}
	keepReferred(whole, kept, components)
	trimmed, err := json.Marshal(map[string]any{"openapi": whole["openapi"], "info": whole["info"], "paths": kept, "components": components})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, trimmed, 0o600); err != nil {
		t.Fatal(err)
	}
}

// keepReferred copies the components that a value refers to, directly or not.
func keepReferred(whole map[string]any, value any, components map[string]any) {
	switch v := value.(type) {
	case []any:
		for _, inner := range v {
			keepReferred(whole, inner, components)
		}
	case map[string]any:
		if reference, ok := v["$ref"].(string); ok {
			elements := strings.Split(strings.TrimPrefix(reference, "#/components/"), "/")
			all, _ := whole["components"].(map[string]any)
			from, _ := all[elements[0]].(map[string]any)
			into, _ := components[elements[0]].(map[string]any)
			if into == nil {
				into = map[string]any{}
				components[elements[0]] = into
			}
			if len(elements) == 2 && into[elements[1]] == nil {
				into[elements[1]] = from[elements[1]]
				keepReferred(whole, from[elements[1]], components)
			}
		}
		for _, inner := range v {
			keepReferred(whole, inner, components)
		}
	}
}

// freeAddress is an address of this machine that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
