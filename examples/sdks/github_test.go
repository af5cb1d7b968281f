package sdks_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	gogithub "github.com/google/go-github/v75/github"

	"github.com/tributaryhq/tributary/examples/sdks"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// newGitHub is go-github against a server that speaks GitHub's API, on behalf of an integration.
func newGitHub(w *world, v *vendor) *gogithub.Client {
	w.t.Helper()
	in := w.integration("github", "github", github.Credentials{Token: upstream.DemoToken}, github.Metadata{Owner: "demo", Repo: "issues", BaseURL: v.URL})
	client, err := sdks.GitHub(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

func demoGitHub(t *testing.T) *vendor {
	t.Helper()
	return newVendor(t, upstream.New(upstream.Options{Issues: 250, Seed: 1}).Handler())
}

// go-github pages through a list and edits, each request signed.
func TestGitHubIsSigned(t *testing.T) {
	w, v := newWorld(t), demoGitHub(t)
	client := newGitHub(w, v)
	options := &gogithub.IssueListByRepoOptions{State: "all", ListOptions: gogithub.ListOptions{PerPage: 100}}
	listed := 0
	for {
		issues, res, err := client.Issues.ListByRepo(t.Context(), "demo", "issues", options)
		if err != nil {
			t.Fatal(err)
		}
		listed += len(issues)
		if res.NextPage == 0 {
			break
		}
		options.ListOptions.Page = res.NextPage
	}
	if listed != 250 {
		t.Errorf("%d issues were listed, want 250", listed)
	}
	edited, _, err := client.Issues.Edit(t.Context(), "demo", "issues", 7, &gogithub.IssueRequest{Title: gogithub.Ptr("Changed")})
	if err != nil || edited.GetTitle() != "Changed" {
		t.Errorf("%v, %v", edited, err)
	}
	for _, r := range v.requests() {
		if r.Header.Get("Authorization") != "Bearer "+upstream.DemoToken || r.Method != http.MethodGet && r.Method != http.MethodPatch {
			t.Errorf("%s %s was signed %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
		}
	}
}

// What only waiting cures comes out of the SDK as a deferral, with the time that GitHub gave in one way or another; a missing right comes out as
// go-github's own error.
func TestGitHubLimitsAreDeferrals(t *testing.T) {
	w, v := newWorld(t), demoGitHub(t)
	for name, test := range map[string]struct {
		fault upstream.Fault
		wait  time.Duration
	}{
		"429":             {upstream.TooManyRequests(42 * time.Second), 42 * time.Second},
		"secondary limit": {upstream.SecondaryLimit(90 * time.Second), 90 * time.Second},
		"primary limit":   {upstream.PrimaryLimit(20 * time.Minute), 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			in := w.integration("github", name, github.Credentials{Token: upstream.DemoToken}, github.Metadata{Owner: "demo", Repo: "issues", BaseURL: v.URL})
			client, err := sdks.GitHub(in)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Calm()
			v.Next(1, test.fault)
			_, _, err = client.Issues.Get(t.Context(), "demo", "issues", 1)
			deferral, ok := contracts.AsDeferral(err)
			if !ok || (deferral.Delay-test.wait).Abs() > 2*time.Second {
				t.Errorf("the error is %v, want a deferral of %s", err, test.wait)
			}
		})
	}
	client := newGitHub(w, v)
	v.Next(1, upstream.Forbidden())
	_, _, err := client.Issues.Get(t.Context(), "demo", "issues", 1)
	if failed, ok := errors.AsType[*gogithub.ErrorResponse](err); !ok || failed.Response.StatusCode != http.StatusForbidden {
		t.Errorf("the error is %v", err)
	}
}

func TestGitHubIsRetried(t *testing.T) {
	w, v := newWorld(t), demoGitHub(t)
	client := newGitHub(w, v)
	v.Next(2, upstream.Header("Retry-After", "0"))
	v.Next(1, upstream.ServerError(http.StatusBadGateway))
	v.Next(2, upstream.CutConnection())
	if issue, _, err := client.Issues.Get(t.Context(), "demo", "issues", 1); err != nil || issue.GetNumber() != 1 {
		t.Errorf("%v, %v", issue, err)
	}
}

// A cached list is had without a request; an old one costs a request that GitHub answers with 304, which go-github never sees; and one that GitHub can't be
// asked for now is had from what is kept.
func TestGitHubAnswersAreCached(t *testing.T) {
	w, v := newWorld(t), demoGitHub(t)
	client := newGitHub(w, v)
	asked := contracts.Cache{StaleOnError: time.Hour}
	for n, step := range []struct {
		cache contracts.Cache
		fails bool
		from  string
		// sent is how many requests there were by then.
		sent int
	}{
		{asked, false, "miss", 1},
		{asked, false, "revalidated", 2},
		{asked, true, "stale", 3},
		{contracts.Cache{TTL: time.Hour}, false, "revalidated", 4},
		{contracts.Cache{TTL: time.Hour}, true, "hit", 4},
	} {
		if step.fails {
			v.Next(1, upstream.ServerError(http.StatusServiceUnavailable))
		}
		ctx := contracts.WithAttempts(contracts.WithCache(t.Context(), step.cache), 1)
		issue, res, err := client.Issues.Get(ctx, "demo", "issues", 1)
		if err != nil {
			t.Fatalf("step %d: %v", n+1, err)
		}
		from := res.Header.Get(contracts.CacheHeader)
		if issue.GetNumber() != 1 || res.StatusCode != http.StatusOK || from != step.from || len(v.requests()) != step.sent {
			t.Errorf("step %d: issue %d with %d from %q after %d requests, want %q after %d", n+1, issue.GetNumber(), res.StatusCode, from, len(v.requests()), step.from, step.sent)
		}
	}
	w.rows(4)
}
