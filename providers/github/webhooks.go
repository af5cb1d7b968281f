package github

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strconv"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

// The types of deliveries that are taken; others are ignored.
const (
	hookPing    = "ping"
	hookIssues  = "issues"
	hookComment = "issue_comment"
)

// delivery is the part of a webhook's payload that says what it is about.
type delivery struct {
	Action     string          `json:"action"`
	Zen        string          `json:"zen"`
	Issue      json.RawMessage `json:"issue"`
	Comment    json.RawMessage `json:"comment"`
	Repository struct {
		ID       int64  `json:"id"`
		FullName string `json:"full_name"`
	} `json:"repository"`
}

// VerifyWebhookSignature checks X-Hub-Signature-256 with the webhook's secret, or the one before it.
func (Provider) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	credentials, err := contracts.CredentialsOf[Credentials](in)
	if err != nil {
		return err
	}
	return webhooks.GitHub().Verify(req, credentials.WebhookSecrets()...)
}

// WebhookSecrets are the webhook's secret and the one before it, which are all that a signature depends on.
func (Provider) WebhookSecrets(in *contracts.Integration) []string {
	credentials, err := contracts.CredentialsOf[Credentials](in)
	if err != nil {
		return nil
	}
	return credentials.WebhookSecrets()
}

// WebhookAccount is the repository that a delivery is about.
func (Provider) WebhookAccount(req *contracts.WebhookRequest) (string, bool) {
	var d struct {
		Repository struct {
			FullName string `json:"full_name"`
		} `json:"repository"`
	}
	err := json.Unmarshal(payloadOf(req), &d)
	return strings.ToLower(d.Repository.FullName), err == nil && d.Repository.FullName != ""
}

// IntegrationAccount is the repository of an integration.
func (Provider) IntegrationAccount(in *contracts.Integration) string {
	metadata, err := contracts.MetadataOf[Metadata](in)
	if err != nil {
		return ""
	}
	return strings.ToLower(metadata.Owner + "/" + metadata.Repo)
}

// ResolveWebhookEvent is X-GitHub-Event, such as "issues".
func (Provider) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	event := req.Header.Get("X-GitHub-Event")
	return event, event != ""
}

// WebhookDeliveryID is X-GitHub-Delivery. A delivery that somebody has GitHub send again has its old id; one that is made anew has another.
func (Provider) WebhookDeliveryID(req *contracts.WebhookRequest) (string, bool) {
	id := req.Header.Get("X-GitHub-Delivery")
	return id, id != ""
}

// WebhookHandlers are those for issues, their comments and pings. They dispatch what the sync does, so that it does not matter which of the two comes
// first.
func (p Provider) WebhookHandlers() map[string]contracts.WebhookFunc {
	return map[string]contracts.WebhookFunc{hookPing: p.ping, hookIssues: p.issueHook, hookComment: p.commentHook}
}

// HandleWebhook refuses what has no type: GitHub sends none such.
func (Provider) HandleWebhook(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
	return nil, contracts.Permanent(fmt.Errorf("the delivery has no X-GitHub-Event"))
}

// ping answers the question by which GitHub tries a new webhook out.
func (Provider) ping(_ context.Context, _ *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	var d delivery
	if err := json.Unmarshal(payloadOf(req), &d); err != nil {
		return nil, contracts.Permanent(fmt.Errorf("read the ping: %w", err))
	}
	return map[string]string{"zen": d.Zen}, nil
}

func (p Provider) issueHook(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	d, _, err := p.read(ctx, in, req)
	if err != nil {
		return nil, err
	}
	if d.Action == "deleted" || d.Action == "transferred" {
		// The record stays as it was last, as it does with the sync, which does not see it any more.
		return nil, contracts.Skip("the issue was " + d.Action)
	}
	var issue Issue
	if err := issue.UnmarshalJSON(d.Issue); err != nil {
		return nil, contracts.Permanent(err)
	}
	if issue.Number == 0 || issue.UpdatedAt.IsZero() {
		return nil, contracts.Permanent(fmt.Errorf("the issue has no number or no updated_at"))
	}
	return map[string]any{"action": d.Action, "issue": issue.Number},
		contracts.Dispatch(ctx, issue, issue.UpdatedAt.UTC(), strconv.Itoa(issue.Number))
}

func (p Provider) commentHook(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	d, metadata, err := p.read(ctx, in, req)
	if err != nil {
		return nil, err
	}
	if metadata.Comments != nil && !*metadata.Comments {
		return nil, contracts.Skip("comments are left out")
	}
	if d.Action == "deleted" {
		return nil, contracts.Skip("the comment was deleted")
	}
	var comment IssueComment
	if err := comment.UnmarshalJSON(d.Comment); err != nil {
		return nil, contracts.Permanent(err)
	}
	if comment.ID == 0 || comment.UpdatedAt.IsZero() {
		return nil, contracts.Permanent(fmt.Errorf("the comment has no id or no updated_at"))
	}
	return map[string]any{"action": d.Action, "comment": comment.ID},
		contracts.Dispatch(ctx, comment, comment.UpdatedAt.UTC(), strconv.FormatInt(comment.ID, 10))
}

// read takes a delivery apart, unless it is about another repository, as those of an organization's webhook may be, or about a pull request.
func (p Provider) read(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (delivery, Metadata, error) {
	metadata, err := contracts.MetadataOf[Metadata](in)
	if err != nil {
		return delivery{}, metadata, contracts.Permanent(err)
	}
	var d delivery
	if err := json.Unmarshal(payloadOf(req), &d); err != nil {
		return d, metadata, contracts.Permanent(fmt.Errorf("read the payload: %w", err))
	}
	if !strings.EqualFold(d.Repository.FullName, metadata.Owner+"/"+metadata.Repo) {
		renamed, err := p.isRenamed(ctx, in, metadata, d)
		if err != nil {
			return d, metadata, err
		}
		if !renamed {
			return d, metadata, contracts.Skip("it is about the repository " + d.Repository.FullName)
		}
	}
	var issue head
	if err := json.Unmarshal(d.Issue, &issue); err != nil {
		return d, metadata, contracts.Permanent(fmt.Errorf("read the issue: %w", err))
	}
	if issue.isPull() {
		return d, metadata, contracts.Skip("it is about a pull request")
	}
	return d, metadata, nil
}

// payloadOf is the payload as JSON, also of a webhook that is set up to send it as a form.
func payloadOf(req *contracts.WebhookRequest) []byte {
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return req.Body
	}
	form, err := url.ParseQuery(string(req.Body))
	if err != nil {
		return nil
	}
	return []byte(form.Get("payload"))
}

// Interface guard.
var _ contracts.WebhookHandler = Provider{}
