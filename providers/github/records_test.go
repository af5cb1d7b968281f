package github_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// testdata is a file of the folder of that name.
func testdata(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// canned serves the same lists for ever, whatever is asked of them.
func canned(t *testing.T, issues, comments []byte) *contracts.Integration {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := issues
		if strings.HasSuffix(r.URL.Path, "/comments") {
			body = comments
		}
		if _, err := w.Write(body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return providertest.Integration(t, github.Provider{}, github.Credentials{Token: upstream.DemoToken},
		github.Metadata{Owner: "octo", Repo: "demo", BaseURL: server.URL}, server.Client())
}

func TestEventsAreTypedAndLoseNothing(t *testing.T) {
	t.Parallel()
	issues, comments := testdata(t, "issues.json"), testdata(t, "comments.json")
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), canned(t, issues, comments), session); err != nil {
		t.Fatal(err)
	}
	var want []any
	for _, raw := range [][]byte{issues, comments} {
		var list []any
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatal(err)
		}
		want = append(want, list...)
	}
	// The second issue is a pull request, the second comment is on one.
	want = []any{want[0], want[2]}
	var got []any
	for _, item := range session.Items() {
		var value any
		if err := json.Unmarshal([]byte(item.Payload), &value); err != nil {
			t.Fatal(err)
		}
		got = append(got, value)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("(-sent +dispatched):\n%s", d)
	}
	if !strings.Contains(session.Items()[0].Payload, "9007199254740993") {
		t.Error("a large number was rounded")
	}

	issue, ok := session.Events()[0].(github.Issue)
	if !ok {
		t.Fatalf("event is a %T", session.Events()[0])
	}
	// What a handler sees has been to a message and back.
	var again github.Issue
	if err := json.Unmarshal([]byte(session.Items()[0].Payload), &again); err != nil {
		t.Fatal(err)
	}
	again.Raw, issue.Raw = nil, nil
	closed := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	typed := github.Issue{
		ID: 9007199254740993, NodeID: "I_1", Number: 7, URL: "https://api.example/repos/octo/demo/issues/7", HTMLURL: "https://example/octo/demo/issues/7",
		Title: "Ünïcode 🚀 <b>", State: "closed", StateReason: "not_planned", Labels: []github.Label{{ID: 3, Name: "bug", Color: "f00"}, {Name: "old"}},
		Assignees: []github.User{{ID: 5, Login: "ana", Type: "User"}}, Milestone: &github.Milestone{ID: 1, Number: 2, Title: "v1", State: "open"},
		Comments: 4, AuthorAssociation: "NONE", CreatedAt: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), UpdatedAt: closed, ClosedAt: &closed,
	}
	if d := cmp.Diff(typed, issue); d != "" {
		t.Errorf("typed (-want +got):\n%s", d)
	}
	if d := cmp.Diff(typed, again); d != "" {
		t.Errorf("typed, after a journey (-want +got):\n%s", d)
	}
	comment, ok := session.Events()[1].(github.IssueComment)
	if number, hasNumber := comment.IssueNumber(); !ok || !hasNumber || number != 7 || comment.Body != "Me too" {
		t.Errorf("comment %+v on issue %d", comment, number)
	}
}

func TestAnEventWithoutRawIsEncodedByItsFields(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal([]any{github.Issue{Number: 3, Title: "x"}, github.IssueComment{ID: 4, Body: "y"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"number":3`, `"title":"x"`, `"id":4`, `"body":"y"`} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("%s has no %s", raw, part)
		}
	}
}

func TestSenselessAnswersEndTheSync(t *testing.T) {
	t.Parallel()
	for body, says := range map[string]string{
		`{}`:                          "not what was asked for",
		`[{"id":1}]`:                  "record 1 of the page has no id or no updated_at",
		`[{"id":1,"updated_at":"x"}]`: "record 1 of the page",
		`[{"id":1,"updated_at":"2024-01-01T00:00:00Z"}]`:                              "no number",
		`[{"id":1,"number":1,"updated_at":"2024-01-01T00:00:00Z","title":{"a":"b"}}]`: "issue 1",
		`[null]`: "record 1 of the page has no id",
	} {
		err := github.Provider{}.Sync(t.Context(), canned(t, []byte(body), []byte(`[]`)), &providertest.Session{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error that says %q", body, err, says)
		}
	}
}

// Timestamps may be finer than since can say.
func TestFractionsOfASecond(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{MaxPerPage: 5})
	var want []string
	for i := range 40 {
		want = append(want, strconv.Itoa(i+1))
		at := time.Date(2024, 1, 1, 0, 0, i/15, (i%15)*60_000_000, time.UTC)
		raw, err := json.Marshal(map[string]any{"id": i + 1000, "number": i + 1, "updated_at": at})
		if err != nil {
			t.Fatal(err)
		}
		if err := u.AddRaw(raw, false); err != nil {
			t.Fatal(err)
		}
	}
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, session.IDs("")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if cursor := reduce(t, session); string(cursor) != `"2024-01-01T00:00:02.54Z"` {
		t.Errorf("cursor %s", cursor)
	}
}

func TestAServerThatPagesInCircles(t *testing.T) {
	t.Parallel()
	pages := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages++
		w.Header().Set("Link", `<http://`+r.Host+r.URL.Path+`?page=`+strconv.Itoa(pages)+`>; rel="next"`)
		if _, err := w.Write([]byte(`[{"id":1,"number":1,"updated_at":"2024-01-01T00:00:00Z"}]`)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	in := providertest.Integration(t, github.Provider{}, github.Credentials{Token: upstream.DemoToken},
		github.Metadata{Owner: "octo", Repo: "demo", BaseURL: server.URL}, server.Client())
	err := github.Provider{}.Sync(t.Context(), in, &providertest.Session{})
	if err == nil || !strings.Contains(err.Error(), "turns in circles") || contracts.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestOptionsOfTheMetadata(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 20, CommentEvery: 1})
	m := metadata(u)
	no := false
	m.Comments = &no
	m.BaseURL += "/"
	session := &providertest.Session{}
	in := providertest.Integration(t, github.Provider{}, github.Credentials{Token: u.Token()}, m, nil)
	if err := (github.Provider{}).Sync(t.Context(), in, session); err != nil {
		t.Fatal(err)
	}
	if n := len(session.IDs("github.IssueComment")); n != 0 || len(session.Items()) != 18 {
		t.Errorf("%d comments, %d items, want none of 18", n, len(session.Items()))
	}
}

func TestACursorThatIsNoTime(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 1})
	err := github.Provider{}.SyncIncremental(t.Context(), integration(t, u), &providertest.Session{From: contracts.Cursor(`"page-7"`)})
	if !contracts.IsPermanent(err) || !strings.Contains(err.Error(), "reset the cursor") {
		t.Errorf("got %v", err)
	}
}

// A renamed repository answers with a redirect to its new place on the same host, which is followed with the token.
func TestARenamedRepositoryIsFollowed(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 250})
	u.Always(upstream.Fault{Name: "renamed", Serve: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/before/") {
			http.Redirect(w, r, strings.Replace(r.URL.RequestURI(), "/before/", "/issues/", 1), http.StatusMovedPermanently)
			return
		}
		next.ServeHTTP(w, r)
	}})
	m := metadata(u)
	m.Repo = "before"
	session := &providertest.Session{}
	in := providertest.Integration(t, github.Provider{}, github.Credentials{Token: u.Token()}, m, nil)
	if err := (github.Provider{}).Sync(t.Context(), in, session); err != nil {
		t.Fatal(err)
	}
	wantAll(t, u, session)
}

// The overlap is an hour before the cursor, both ends included.
func TestTheOverlap(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{})
	cursor := time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)
	for i, at := range []time.Time{cursor.Add(-time.Hour - time.Second), cursor.Add(-time.Hour), cursor.Add(-time.Minute), cursor, cursor.Add(time.Second)} {
		raw, err := json.Marshal(map[string]any{"id": i + 1, "number": i + 1, "updated_at": at})
		if err != nil {
			t.Fatal(err)
		}
		if err := u.AddRaw(raw, false); err != nil {
			t.Fatal(err)
		}
	}
	session := &providertest.Session{From: contracts.Cursor(`"2024-01-01T13:00:00+01:00"`)}
	if err := (github.Provider{}).SyncIncremental(t.Context(), integration(t, u), session); err != nil {
		t.Fatal(err)
	}
	if got := session.IDs("github.Issue"); !slices.Equal(got, []string{"2", "3", "4", "5"}) {
		t.Errorf("issues %v, want 2 to 5", got)
	}
}
