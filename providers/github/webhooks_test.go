package github_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/pkg/webhooks"
	"github.com/tributaryhq/tributary/providers/github"
)

const hookSecret = "a webhook's secret"

func hookCredentials(token string) github.Credentials {
	return github.Credentials{Token: token, Secrets: webhooks.Secrets{WebhookSecret: hookSecret}}
}

// delivery is a webhook as GitHub signs it.
func delivery(t testing.TB, event string, payload any) *contracts.WebhookRequest {
	t.Helper()
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return &contracts.WebhookRequest{
		Method: http.MethodPost, Header: upstream.HookHeaders(event, "72d3162e-cc78-11e3-81ab-4c9367dc0958", hookSecret, body), Body: body, ReceivedAt: time.Unix(1, 0),
	}
}

// handle routes a delivery as the runtime does.
func handle(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	p := github.Provider{}
	event, ok := p.ResolveWebhookEvent(req)
	if fn := p.WebhookHandlers()[event]; ok && fn != nil {
		return fn(ctx, in, req)
	}
	return p.HandleWebhook(ctx, in, req)
}

// A webhook brings the item that a sync brings: type, id, checkpoint and payload are the same.
func TestWebhooksBringWhatTheSyncBrings(t *testing.T) {
	t.Parallel()
	received := make(chan *contracts.WebhookRequest, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		received <- &contracts.WebhookRequest{Method: r.Method, Header: r.Header, Body: body, ReceivedAt: time.Now()}
	}))
	t.Cleanup(receiver.Close)
	u := start(t, upstream.Options{Issues: 20, Seed: 5})
	in := providertest.Integration(t, github.Provider{}, hookCredentials(u.Token()), metadata(u), nil)
	u.SendWebhooks(receiver.URL, hookSecret)
	title := "Changed"
	if err := u.Edit(3, upstream.Change{Title: &title}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.AddComment(4, "A comment"); err != nil {
		t.Fatal(err)
	}
	pushed := &providertest.Session{}
	for _, event := range []string{"ping", "issues", "issue_comment"} {
		req := <-received
		if got := req.Header.Get("X-GitHub-Event"); got != event {
			t.Fatalf("got %s, want %s", got, event)
		}
		if err := (github.Provider{}).VerifyWebhookSignature(t.Context(), in, req); err != nil {
			t.Errorf("%s: %v", event, err)
		}
		if _, err := handle(contracts.WithDispatcher(t.Context(), pushed), in, req); err != nil {
			t.Errorf("%s: %v", event, err)
		}
	}
	synced := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), in, synced); err != nil {
		t.Fatal(err)
	}
	want := map[string]providertest.Item{}
	for _, item := range synced.Items() {
		want[item.Event+" "+item.ExternalID] = item
	}
	if len(pushed.Items()) != 2 {
		t.Fatalf("%d items were pushed, want 2", len(pushed.Items()))
	}
	for _, item := range pushed.Items() {
		if diff := cmp.Diff(want[item.Event+" "+item.ExternalID], item); diff != "" {
			t.Errorf("the webhook's item is not the sync's (-sync +webhook):\n%s", diff)
		}
	}
}

func TestWebhooksLeaveOut(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 1})
	issue := map[string]any{"id": 9, "number": 7, "updated_at": "2026-01-01T00:00:00Z"}
	pull := map[string]any{"id": 9, "number": 7, "updated_at": "2026-01-01T00:00:00Z", "pull_request": map[string]any{"url": "x"}}
	comment := map[string]any{"id": 8, "updated_at": "2026-01-01T00:00:00Z"}
	repository := map[string]any{"full_name": "DEMO/Issues"}
	for _, c := range []struct {
		name, event string
		payload     map[string]any
		comments    bool
		items       int
		verdict     string
	}{
		{"an issue", "issues", map[string]any{"action": "edited", "issue": issue, "repository": repository}, true, 1, "done"},
		{"a deleted issue", "issues", map[string]any{"action": "deleted", "issue": issue, "repository": repository}, true, 0, "skip"},
		{"a transferred issue", "issues", map[string]any{"action": "transferred", "issue": issue, "repository": repository}, true, 0, "skip"},
		{"another repository's", "issues", map[string]any{"action": "edited", "issue": issue, "repository": map[string]any{"full_name": "demo/other"}}, true, 0, "skip"},
		{"no repository", "issues", map[string]any{"action": "edited", "issue": issue}, true, 0, "skip"},
		{"no issue", "issues", map[string]any{"action": "edited", "repository": repository}, true, 0, "permanent"},
		{"an empty issue", "issues", map[string]any{"action": "edited", "issue": map[string]any{}, "repository": repository}, true, 0, "permanent"},
		{"a comment", "issue_comment", map[string]any{"action": "created", "issue": issue, "comment": comment, "repository": repository}, true, 1, "done"},
		{"a comment that is left out", "issue_comment", map[string]any{"action": "created", "issue": issue, "comment": comment, "repository": repository}, false, 0, "skip"},
		{"a comment on a pull request", "issue_comment", map[string]any{"action": "created", "issue": pull, "comment": comment, "repository": repository}, true, 0, "skip"},
		{"a deleted comment", "issue_comment", map[string]any{"action": "deleted", "issue": issue, "comment": comment, "repository": repository}, true, 0, "skip"},
		{"a ping", "ping", map[string]any{"zen": "Half measures are as bad as nothing at all."}, true, 0, "done"},
		{"no type", "", map[string]any{}, true, 0, "permanent"},
	} {
		m := metadata(u)
		m.Comments = &c.comments
		in := providertest.Integration(t, github.Provider{}, hookCredentials(u.Token()), m, nil)
		session := &providertest.Session{}
		_, err := handle(contracts.WithDispatcher(t.Context(), session), in, delivery(t, c.event, c.payload))
		_, skipped := contracts.AsSkip(err)
		got := map[bool]string{err == nil: "done", skipped: "skip", contracts.IsPermanent(err): "permanent"}[true]
		if got != c.verdict || len(session.Items()) != c.items {
			t.Errorf("%s: %s (%v) with %d items, want %s with %d", c.name, got, err, len(session.Items()), c.verdict, c.items)
		}
	}
}
