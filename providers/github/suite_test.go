package github_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, provider := range map[string]contracts.Provider{"zero": github.Provider{}, "new": github.New()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := start(t, upstream.Options{Issues: 250, Seed: 3})
			providertest.Run(t, providertest.Suite{
				Provider: provider, Key: "github", Credentials: hookCredentials(u.Token()), Metadata: metadata(u),
				Webhook: func(t testing.TB) *contracts.WebhookRequest {
					t.Helper()
					return delivery(t, "ping", map[string]string{"zen": "Approachable is better than simple."})
				},
				Records: func(testing.TB) []string { return all(u) },
				Edit: func(t testing.TB, item providertest.Item) {
					t.Helper()
					edit(t, u, item)
				},
				Delivery: func(t testing.TB, item providertest.Item) *contracts.WebhookRequest {
					t.Helper()
					return deliveryOf(t, u, item)
				},
				Change: func(t testing.TB) string {
					t.Helper()
					const number = 42
					title := "Changed"
					if err := u.Edit(number, upstream.Change{Title: &title}); err != nil {
						t.Fatal(err)
					}
					return strconv.Itoa(number)
				},
			})
		})
	}
}

func all(u *upstream.Upstream) []string {
	issues, comments := existing(u)
	return append(issues, comments...)
}

// edit changes an issue or a comment.
func edit(t testing.TB, u *upstream.Upstream, item providertest.Item) {
	t.Helper()
	id, err := strconv.Atoi(item.ExternalID)
	if err == nil && item.Event == "github.Issue" {
		err = u.Touch(id)
	} else if err == nil {
		err = u.EditComment(id, "Changed")
	}
	if err != nil {
		t.Error(err)
	}
}

// deliveryOf is the webhook about an item.
func deliveryOf(t testing.TB, u *upstream.Upstream, item providertest.Item) *contracts.WebhookRequest {
	t.Helper()
	event, payload := "issues", map[string]any{
		"action": "edited", "issue": json.RawMessage(item.Payload), "repository": map[string]any{"full_name": u.Owner() + "/" + u.Repo()},
	}
	if item.Event == "github.IssueComment" {
		event, payload["comment"] = "issue_comment", json.RawMessage(item.Payload)
		payload["issue"] = map[string]any{"id": 9, "number": 7}
	}
	req := delivery(t, event, payload)
	req.Header.Set("X-GitHub-Delivery", fmt.Sprintf("delivery-of-%s-%x", item.ExternalID, sha256.Sum256([]byte(item.Payload))))
	return req
}
