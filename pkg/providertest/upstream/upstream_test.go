package upstream_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/leak"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	os.Exit(leak.Code(code))
}

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

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with the token, to a path within the repository or a whole URL.
func ask(t *testing.T, u *upstream.Upstream, method, path, body string, header ...string) answer {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = u.URL() + "/repos/" + u.Owner() + "/" + u.Repo() + path
	}
	req, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+u.Token())
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: string(raw)}
}

type record struct {
	ID          int             `json:"id"`
	Number      int             `json:"number"`
	Title       string          `json:"title"`
	Body        *string         `json:"body"`
	State       string          `json:"state"`
	Comments    int             `json:"comments"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	ClosedAt    *time.Time      `json:"closed_at"`
	PullRequest json.RawMessage `json:"pull_request"`
}

func list(t *testing.T, a answer) []record {
	t.Helper()
	var records []record
	if err := json.Unmarshal([]byte(a.body), &records); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %.200s: %v", a.status, a.body, err)
	}
	return records
}

func one(t *testing.T, a answer) record {
	t.Helper()
	var r record
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status/100 != 2 {
		t.Fatalf("%d %.200s: %v", a.status, a.body, err)
	}
	return r
}

// follow returns the targets of a Link header by their relation.
func follow(header string) map[string]string {
	links := map[string]string{}
	for link := range strings.SplitSeq(header, ", ") {
		target, rel, ok := strings.Cut(link, "; ")
		if ok {
			links[strings.Trim(strings.TrimPrefix(rel, "rel="), `"`)] = strings.Trim(target, "<>")
		}
	}
	return links
}

func TestPagesByLink(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 250, Seed: 1})
	for _, c := range []struct{ sort, direction string }{{"updated", "asc"}, {"updated", "desc"}, {"created", "asc"}, {"created", "desc"}} {
		var got []record
		rels := []string{}
		for next := "/issues?state=all&per_page=100&sort=" + c.sort + "&direction=" + c.direction; next != ""; {
			a := ask(t, u, http.MethodGet, next, "")
			got = append(got, list(t, a)...)
			links := follow(a.header.Get("Link"))
			for _, rel := range []string{"prev", "next", "last", "first"} {
				if links[rel] != "" {
					rels = append(rels, rel)
				}
			}
			next = links["next"]
		}
		if len(got) != 250 {
			t.Fatalf("%v: %d records", c, len(got))
		}
		order := func(a, b record) int {
			by := a.UpdatedAt.Compare(b.UpdatedAt)
			if c.sort == "created" {
				by = a.CreatedAt.Compare(b.CreatedAt)
			}
			if c.direction == "desc" {
				by = -by
			}
			return by
		}
		if !slices.IsSortedFunc(got, order) {
			t.Errorf("%v: not in that order", c)
		}
		if d := cmp.Diff([]string{"next", "last", "prev", "next", "last", "first", "prev", "first"}, rels); d != "" {
			t.Errorf("%v: relations of the links: %s", c, d)
		}
	}
}

func TestParametersAsGitHubTakesThem(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 300, Seed: 1, Tie: 3})
	all := list(t, ask(t, u, http.MethodGet, "/issues?state=all&per_page=100&sort=updated&direction=asc", ""))
	at := all[40].UpdatedAt
	for _, c := range []struct {
		query string
		want  int
		check func(record) bool
	}{
		{"state=all", 30, nil},
		{"state=all&per_page=1000", 100, nil},
		{"state=all&per_page=0", 30, nil},
		{"state=all&per_page=x&page=-1", 30, nil},
		{"per_page=100", 100, func(r record) bool { return r.State == "open" && r.ClosedAt == nil }},
		{"state=closed&per_page=100", 100, func(r record) bool { return r.State == "closed" && r.ClosedAt != nil }},
		{"state=all&page=4&per_page=100", 0, nil},
		{"state=all&per_page=100&sort=updated&direction=asc&since=" + at.Format(time.RFC3339), 100, func(r record) bool { return !r.UpdatedAt.Before(at) }},
	} {
		got := list(t, ask(t, u, http.MethodGet, "/issues?"+c.query, ""))
		if len(got) != c.want {
			t.Errorf("%s: %d records, want %d", c.query, len(got), c.want)
		}
		if c.check != nil && slices.ContainsFunc(got, func(r record) bool { return !c.check(r) }) {
			t.Errorf("%s: a record that was not asked for", c.query)
		}
	}
	// since is inclusive: the whole tie comes.
	since := list(t, ask(t, u, http.MethodGet, "/issues?state=all&sort=updated&direction=asc&since="+at.Format(time.RFC3339), ""))
	tie := slices.DeleteFunc(slices.Clone(since), func(r record) bool { return !r.UpdatedAt.Equal(at) })
	if len(tie) != 3 {
		t.Errorf("%d records of the timestamp that was asked for, want 3", len(tie))
	}
	if a := ask(t, u, http.MethodGet, "/issues?since=yesterday", ""); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a senseless since: %d", a.status)
	}
	kinds := map[string]int{}
	for _, r := range all {
		kinds[string(r.PullRequest[:min(len(r.PullRequest), 1)])]++
	}
	if kinds["{"] == 0 || kinds["n"] == 0 || kinds[""] == 0 {
		t.Errorf("pull requests, nulls and neither: %v", kinds)
	}
}

// What a user does with curl.
func TestEditsOverHTTP(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, time.May, 4, 12, 0, 0, 123456789, time.UTC)
	u := start(t, upstream.Options{Issues: 20, Seed: 1, Now: func() time.Time { return now }})
	edited := one(t, ask(t, u, http.MethodPatch, "/issues/7", `{"title":"Changed","state":"closed"}`))
	if edited.Title != "Changed" || edited.State != "closed" || edited.ClosedAt == nil || !edited.UpdatedAt.Equal(now.Truncate(time.Second)) {
		t.Errorf("edited: %+v", edited)
	}
	opened := one(t, ask(t, u, http.MethodPost, "/issues", `{"title":"New","body":"Ünïcode 🚀"}`))
	if opened.Number != 21 || opened.Title != "New" || *opened.Body != "Ünïcode 🚀" || opened.State != "open" {
		t.Errorf("opened: %+v", opened)
	}
	comment := one(t, ask(t, u, http.MethodPost, "/issues/21/comments", `{"body":"First"}`))
	changed := one(t, ask(t, u, http.MethodPatch, fmt.Sprintf("/issues/comments/%d", comment.ID), `{"body":"Second"}`))
	if *changed.Body != "Second" || changed.ID != comment.ID {
		t.Errorf("comment: %+v", changed)
	}
	if r := one(t, ask(t, u, http.MethodGet, "/issues/21", "")); r.Comments != 1 {
		t.Errorf("the issue has %d comments", r.Comments)
	}
	since := url.QueryEscape(now.Truncate(time.Second).Format(time.RFC3339))
	var numbers []int
	for _, r := range list(t, ask(t, u, http.MethodGet, "/issues?state=all&sort=updated&direction=asc&since="+since, "")) {
		numbers = append(numbers, r.Number)
	}
	if d := cmp.Diff([]int{7, 21}, numbers); d != "" {
		t.Errorf("what has changed since: %s", d)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPost, "/issues", `{}`, 422},
		{http.MethodPost, "/issues", `{`, 400},
		{http.MethodPatch, "/issues/7", `{"state":"lost"}`, 422},
		{http.MethodPatch, "/issues/99", `{"title":"x"}`, 404},
		{http.MethodGet, "/issues/99", "", 404},
		{http.MethodGet, "/pulls", "", 404},
		{http.MethodPost, "/issues/99/comments", `{"body":"x"}`, 404},
		{http.MethodPatch, "/issues/comments/1", `{"body":"x"}`, 404},
	} {
		if a := ask(t, u, c.method, c.path, c.body); a.status != c.status || !strings.Contains(a.body, `"message"`) {
			t.Errorf("%s %s %s: %d %s, want %d", c.method, c.path, c.body, a.status, a.body, c.status)
		}
	}
}

func TestTheTokenIsChecked(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 1})
	for authorization, status := range map[string]int{
		"Bearer " + u.Token(): 200, "token " + u.Token(): 200, "Bearer wrong": 401, u.Token(): 401, "Basic " + u.Token(): 401,
	} {
		if a := ask(t, u, http.MethodGet, "/issues/1", "", "Authorization", authorization); a.status != status {
			t.Errorf("%q: %d, want %d", authorization, a.status, status)
		}
	}
	if n := u.Stats().Unauthorized; n != 3 {
		t.Errorf("%d requests counted as unauthorized, want 3", n)
	}
}

func TestUnchangedListsCostNoBudget(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 10, RateLimit: 3})
	first := ask(t, u, http.MethodGet, "/issues?state=all", "")
	for range 5 {
		if a := ask(t, u, http.MethodGet, "/issues?state=all", "", "If-None-Match", first.header.Get("ETag")); a.status != http.StatusNotModified || a.body != "" || a.header.Get("X-RateLimit-Remaining") != "2" {
			t.Fatalf("%d %q", a.status, a.body)
		}
	}
	if err := u.Touch(1); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, u, http.MethodGet, "/issues?state=all", "", "If-None-Match", first.header.Get("ETag")); a.status != http.StatusOK || a.header.Get("X-RateLimit-Remaining") != "1" {
		t.Errorf("after a change: %d, remaining %s", a.status, a.header.Get("X-RateLimit-Remaining"))
	}
	ask(t, u, http.MethodGet, "/issues", "")
	if a := ask(t, u, http.MethodGet, "/issues", ""); a.status != http.StatusForbidden || a.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("beyond the budget: %d, remaining %s", a.status, a.header.Get("X-RateLimit-Remaining"))
	}
}

func TestTheSameSeedGivesTheSameRecords(t *testing.T) {
	t.Parallel()
	opts := upstream.Options{Issues: 120, Seed: 9, PublicURL: "http://upstream.example"}
	first := ask(t, start(t, opts), http.MethodGet, "/issues?state=all&per_page=100&sort=updated", "").body
	if again := ask(t, start(t, opts), http.MethodGet, "/issues?state=all&per_page=100&sort=updated", "").body; again != first {
		t.Error("the same seed gave other records")
	}
	opts.Seed++
	if other := ask(t, start(t, opts), http.MethodGet, "/issues?state=all&per_page=100&sort=updated", "").body; other == first {
		t.Error("another seed gave the same records")
	}
}

func TestAMillionIssuesAreNotHeld(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 1_000_000, Seed: 1})
	a := ask(t, u, http.MethodGet, "/issues?state=all&per_page=100&sort=updated&direction=asc&page=9999", "")
	if got := list(t, a); len(got) != 100 || !strings.Contains(follow(a.header.Get("Link"))["next"], "page=10000") {
		t.Errorf("%d records, links %s", len(got), a.header.Get("Link"))
	}
	seen := make([]bool, 1_000_001)
	for r := range u.Issues() {
		if seen[r.Key] {
			t.Fatalf("issue %d is there twice", r.Key)
		}
		seen[r.Key] = true
	}
	if slices.Contains(seen[1:], false) {
		t.Error("an issue is not there")
	}
}

// The counts behind the links hold while records are edited.
func TestLinksFollowEdits(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 95, Seed: 1})
	if n := u.TouchEvery(2); n != 47 {
		t.Errorf("%d touched", n)
	}
	u.TouchEvery(4)
	for range 10 {
		u.Add("more", "")
	}
	a := ask(t, u, http.MethodGet, "/issues?state=all&per_page=10&sort=updated&direction=asc", "")
	if last := follow(a.header.Get("Link"))["last"]; !strings.Contains(last, "page=11&") {
		t.Errorf("105 records in tens end at %s", last)
	}
	seen := map[int]bool{}
	for {
		for _, r := range list(t, a) {
			seen[r.Number] = true
		}
		next := follow(a.header.Get("Link"))["next"]
		if next == "" {
			break
		}
		a = ask(t, u, http.MethodGet, next, "")
	}
	if len(seen) != 105 {
		t.Errorf("%d records seen", len(seen))
	}
}
