package github_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// start serves an upstream for the length of a test.
func start(t *testing.T, opts upstream.Options) *upstream.Upstream {
	t.Helper()
	u := upstream.New(opts)
	if err := u.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

func metadata(u *upstream.Upstream) github.Metadata {
	return github.Metadata{Owner: u.Owner(), Repo: u.Repo(), BaseURL: u.URL()}
}

func integration(t *testing.T, u *upstream.Upstream) *contracts.Integration {
	t.Helper()
	return providertest.Integration(t, github.Provider{}, github.Credentials{Token: u.Token()}, metadata(u), nil)
}

// existing are the ids of all issues and comments that are not of pull requests, sorted.
func existing(u *upstream.Upstream) (issues, comments []string) {
	for r := range u.Issues() {
		if !r.IsPull {
			issues = append(issues, strconv.Itoa(r.Key))
		}
	}
	for r := range u.Comments() {
		if !r.IsPull {
			comments = append(comments, strconv.Itoa(r.Key))
		}
	}
	slices.Sort(issues)
	slices.Sort(comments)
	return issues, comments
}

// wantAll fails unless the session has exactly what exists.
func wantAll(t *testing.T, u *upstream.Upstream, session *providertest.Session) {
	t.Helper()
	issues, comments := existing(u)
	gotIssues, gotComments := session.IDs("github.Issue"), session.IDs("github.IssueComment")
	slices.Sort(gotIssues)
	slices.Sort(gotComments)
	if d := cmp.Diff(issues, slices.Compact(gotIssues)); d != "" {
		t.Errorf("issues (-want +got):\n%s", d)
	}
	if d := cmp.Diff(comments, slices.Compact(gotComments)); d != "" {
		t.Errorf("comments (-want +got):\n%s", d)
	}
}

func TestEverythingIsEnumeratedOnce(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]upstream.Options{
		"empty":                   {},
		"one":                     {Issues: 1},
		"one page":                {Issues: 100},
		"pages":                   {Issues: 450},
		"ties on a page":          {Issues: 450, Tie: 7},
		"ties longer than a page": {Issues: 450, Tie: 250},
		"one tie":                 {Issues: 350, Tie: 1000},
		"cut pages":               {Issues: 150, MaxPerPage: 30, Tie: 45},
		"pages of one":            {Issues: 20, MaxPerPage: 1, Tie: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Seed = 7
			u := start(t, opts)
			session := &providertest.Session{}
			if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
				t.Fatal(err)
			}
			wantAll(t, u, session)
			issues, comments := existing(u)
			if got, want := len(session.Items()), len(issues)+len(comments); got != want {
				t.Errorf("%d items, want %d", got, want)
			}
			if session.Duplicates() > 0 {
				t.Errorf("%d records were dispatched twice", session.Duplicates())
			}
		})
	}
}
