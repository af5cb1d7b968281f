// Package github syncs the issues of a GitHub repository and their comments, through GitHub's REST API.
//
// Items are [Issue] and [IssueComment]; pull requests and the comments on them are left out. The cursor is a time: that of the latest update which has
// been worked off. An incremental sync starts an hour before it, because GitHub's lists lag; what comes twice is for the handlers, or the
// built-in sink, to take twice.
//
// The lists are read in ascending order of updates, from the last timestamp seen, so that nothing is skipped while records move to the
// end of the list. What is updated after a run has begun is left to the next one.
//
// Webhooks bring the same items sooner: issues, issue_comment and ping are taken, verified with the webhook's secret.
package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

// Overlap is how long before the cursor an incremental sync starts.
const Overlap = time.Hour

// Credentials is a personal access token, classic or fine-grained, or one of a GitHub App's installation. It needs to read the issues of the
// repository. The secrets are those of the repository's webhook, if it has one.
type Credentials struct {
	Token string `json:"token" validate:"required,min=20,printascii"`
	webhooks.Secrets
}

// Metadata names a repository.
type Metadata struct {
	Owner string `json:"owner" validate:"required,max=100,excludesall=/?#,ne=.,ne=.."`
	Repo  string `json:"repo" validate:"required,max=100,excludesall=/?#,ne=.,ne=.."`
	// BaseURL is the API's address, https://api.github.com by default; GitHub Enterprise Server has https://HOST/api/v3.
	BaseURL string `json:"base_url,omitempty" validate:"omitempty,http_url"`
	// Comments, when false, leaves comments out; they are read by default.
	Comments *bool `json:"comments,omitempty"`
}

// Provider is GitHub. The zero value works; [New] returns one that also saves requests.
type Provider struct {
	contracts.TypedCredentials[Credentials]
	contracts.TypedMetadata[Metadata]
	contracts.MaxTime

	// answers remembers answers by their ETags; nil remembers none.
	answers *answers
	// ids are those of repositories; nil has GitHub asked each time.
	ids *ids
}

// New returns a provider that asks GitHub only for what has changed since the last request, which costs no budget when nothing has. It keeps
// at most 16 MiB of answers, in memory, and never depends on them.
func New() Provider { return Provider{answers: newAnswers(16 << 20), ids: newIDs()} }

// Name is "GitHub".
func (Provider) Name() string { return "GitHub" }

// DefaultSyncInterval is five minutes.
func (Provider) DefaultSyncInterval() time.Duration { return 5 * time.Minute }

// DefaultRateLimit is GitHub's budget of a token: 5000 requests an hour.
func (Provider) DefaultRateLimit() *contracts.RateLimit { return contracts.PerHour(5000) }

// Sync enumerates every issue, and every comment.
func (p Provider) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	e, err := p.enumerate(in, session, time.Time{})
	if err != nil {
		return err
	}
	return e.run(ctx, false)
}

// SyncIncremental enumerates what was updated since an hour before the cursor. When the token's budget runs low it stops at a point from which the
// next run goes on, so that also a repository of more than an hour's budget is read in the end.
func (p Provider) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	var since time.Time
	if cursor, ok := session.Cursor(); ok {
		last, err := cursor.Time()
		if err != nil {
			return contracts.Permanent(fmt.Errorf("%w: reset the cursor to a timestamp, or to none", err))
		}
		since = last.Add(-Overlap).UTC()
	}
	e, err := p.enumerate(in, session, since)
	if err != nil {
		return err
	}
	return e.run(ctx, true)
}

// HealthCheck asks for the repository, and gives up after ten seconds.
func (p Provider) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := p.client(in)
	if err != nil {
		return err
	}
	var repository struct {
		ID int64 `json:"id"`
	}
	_, err = c.get(ctx, c.repository(), &repository)
	return err
}

// CredentialHosts is where the API is.
func (Provider) CredentialHosts(in *contracts.Integration) ([]string, error) {
	base, err := baseOf(in)
	if err != nil {
		return nil, err
	}
	return []string{base.Scheme + "://" + base.Host}, nil
}

// Authenticate sends the token to the API's own scheme, host and port, and to no other.
func (Provider) Authenticate(in *contracts.Integration, req *http.Request) error {
	base, err := baseOf(in)
	if err != nil {
		return err
	}
	if !isSameOrigin(base, req.URL) {
		return nil
	}
	credentials, err := contracts.CredentialsOf[Credentials](in)
	if err != nil {
		return contracts.Permanent(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(credentials.Token))
	return nil
}

// ClassifyFailure knows rate limits that come as 403, and leaves all else to the core.
func (Provider) ClassifyFailure(err error) (contracts.FailureClass, bool) {
	var failed *Error
	if errors.As(err, &failed) && failed.IsRateLimit {
		return contracts.FailureThrottle, true
	}
	var answer *contracts.ResponseError
	if errors.As(err, &answer) && isRateLimit(answer.Status, answer.Header, answer.Excerpt) {
		return contracts.FailureThrottle, true
	}
	return "", false
}

// baseOf is the API's address, without a slash at the end.
func baseOf(in *contracts.Integration) (*url.URL, error) {
	metadata, err := contracts.MetadataOf[Metadata](in)
	if err != nil {
		return nil, contracts.Permanent(err)
	}
	if metadata.BaseURL == "" {
		metadata.BaseURL = "https://api.github.com"
	}
	base, err := url.Parse(strings.TrimRight(metadata.BaseURL, "/"))
	if err != nil || base.Host == "" {
		return nil, contracts.Permanent(errors.New("base_url of the metadata is not the address of an API"))
	}
	return base, nil
}

// isSameOrigin reports whether two URLs have scheme, host and port in common.
func isSameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	default:
		return "80"
	}
}

// Interface guards.
var (
	_ contracts.Provider          = Provider{}
	_ contracts.IncrementalSync   = Provider{}
	_ contracts.HealthChecker     = Provider{}
	_ contracts.Authenticator     = Provider{}
	_ contracts.FailureClassifier = Provider{}
	_ contracts.RetryCustomizer   = Provider{}
)
