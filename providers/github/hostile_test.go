package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// clock is a server's clock that goes on by a step each time it is read, so that a test of a second lasts hours upstream.
type clock struct {
	at   atomic.Int64
	step time.Duration
}

func newClock(step time.Duration) *clock {
	c := &clock{step: step}
	c.at.Store(time.Date(2025, time.March, 1, 10, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time { return time.Unix(0, c.at.Add(int64(c.step))).UTC() }

// versions are the updates of each record that a session has.
func versions(session *providertest.Session) map[string][]string {
	all := map[string][]string{}
	for _, item := range session.Items() {
		key := item.Event + " " + item.ExternalID
		all[key] = append(all[key], item.Checkpoint)
	}
	return all
}

// run syncs from a cursor until the upstream has nothing newer, and fails unless the sessions together have the last version of every record.
func wantLastVersions(t *testing.T, u *upstream.Upstream, sessions ...*providertest.Session) {
	t.Helper()
	got := map[string][]string{}
	for _, session := range sessions {
		for key, v := range versions(session) {
			got[key] = append(got[key], v...)
		}
	}
	missing := 0
	check := func(event string, r upstream.Record) {
		key, want := fmt.Sprintf("%s %d", event, r.Key), strconv.Quote(r.UpdatedAt.Format(time.RFC3339))
		if !r.IsPull && !slices.Contains(got[key], want) {
			if missing++; missing <= 5 {
				t.Errorf("%s of %s was never enumerated; got %v", key, want, got[key])
			}
		}
	}
	for r := range u.Issues() {
		check("github.Issue", r)
	}
	for r := range u.Comments() {
		check("github.IssueComment", r)
	}
	if missing > 5 {
		t.Errorf("and %d more", missing-5)
	}
}

func reduce(t *testing.T, session *providertest.Session) contracts.Cursor {
	t.Helper()
	cursor, err := github.Provider{}.ReduceCheckpoints(session.Checkpoints())
	if err != nil {
		t.Fatal(err)
	}
	return cursor
}

// Records move to the end of the list while it is read: nothing is skipped, in no arrangement of timestamps.
func TestNothingIsSkippedWhileRecordsMove(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]upstream.Options{
		"spread":          {Issues: 200},
		"ties":            {Issues: 200, Tie: 5},
		"one tie":         {Issues: 200, Tie: 2000},
		"ties of 3 pages": {Issues: 200, Tie: 50},
	} {
		for _, step := range []time.Duration{10 * time.Millisecond, 700 * time.Millisecond, 40 * time.Second} {
			t.Run(fmt.Sprintf("%s, %s", name, step), func(t *testing.T) {
				t.Parallel()
				opts := opts
				opts.Seed, opts.MaxPerPage, opts.Now = 11, 20, newClock(step).now
				u := start(t, opts)
				in := integration(t, u)
				u.Always(u.Shift(4))
				first := &providertest.Session{}
				if err := (github.Provider{}).Sync(t.Context(), in, first); err != nil {
					t.Fatal(err)
				}
				u.Calm()
				second := &providertest.Session{From: reduce(t, first)}
				if err := (github.Provider{}).SyncIncremental(t.Context(), in, second); err != nil {
					t.Fatal(err)
				}
				wantLastVersions(t, u, first, second)
			})
		}
	}
}

// An issue that is edited after the issues were read must not be passed over by the cursor, which the comments, read later, move on.
func TestTheCursorStopsWhereTheRunBegan(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Hour)
	u := start(t, upstream.Options{Issues: 30, Seed: 5, Now: clock.now})
	in := integration(t, u)
	edited := false
	u.Always(upstream.Fault{Name: "edit between the lists", Serve: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/comments") && !edited {
			edited = true
			if err := u.Touch(3); err != nil {
				t.Error(err)
			}
			clock.now() // two hours later somebody comments on another issue
			clock.now()
			if _, err := u.AddComment(4, "late"); err != nil {
				t.Error(err)
			}
		}
		next.ServeHTTP(w, r)
	}})
	first := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), in, first); err != nil {
		t.Fatal(err)
	}
	second := &providertest.Session{From: reduce(t, first)}
	if err := (github.Provider{}).SyncIncremental(t.Context(), in, second); err != nil {
		t.Fatal(err)
	}
	wantLastVersions(t, u, first, second)
}

// However busily the records are edited, a run ends.
func TestARunEndsWhileEverythingIsEdited(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 300, Seed: 2, Now: newClock(2 * time.Second).now})
	u.Always(upstream.Fault{Name: "all edited", Serve: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		u.TouchEvery(1)
	}})
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
		t.Fatal(err)
	}
	if n := u.Stats().Requests; n > 10 {
		t.Errorf("%d requests for 300 issues that are edited all the time", n)
	}
	for key, v := range versions(session) {
		if len(v) > 1 {
			t.Errorf("%s came with the updates %v: those of after the run began are the next one's", key, v)
		}
	}
}

// A record that is edited while its page is written shows its new time in its old place, which must not be read on from.
func TestAFreshTimeInAnOldPlace(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 300, Seed: 2, PullRequestEvery: -1, Now: newClock(time.Second).now})
	for _, place := range []int{0, 50, 99} {
		t.Run(strconv.Itoa(place), func(t *testing.T) {
			u.Next(1, upstream.Fault{Name: "edit while written", Serve: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				var list []map[string]any
				if err := json.Unmarshal(answer.Body.Bytes(), &list); err != nil {
					t.Error(err)
					return
				}
				at, err := http.ParseTime(w.Header().Get("Date"))
				if err != nil {
					t.Error(err)
				}
				list[place]["updated_at"] = at.Format(time.RFC3339)
				w.Header().Set("Link", answer.Header().Get("Link"))
				if err := json.NewEncoder(w).Encode(list); err != nil {
					t.Error(err)
				}
			}})
			session := &providertest.Session{}
			if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
				t.Fatal(err)
			}
			wantAll(t, u, session)
		})
	}
}

func TestDuplicatesAcrossPages(t *testing.T) {
	t.Parallel()
	for _, tie := range []int{1, 7, 30} {
		u := start(t, upstream.Options{Issues: 90, Seed: 2, Tie: tie, MaxPerPage: 25})
		u.Always(upstream.Duplicates())
		session := &providertest.Session{}
		if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
			t.Fatal(err)
		}
		wantAll(t, u, session)
	}
}

// A repository of more pages than the budget has is read by one run after the other.
func TestMoreThanTheBudgetIsReadInStretches(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Second)
	u := start(t, upstream.Options{Issues: 700, Seed: 2, MaxPerPage: 5, RateLimit: 180, Now: clock.now, Step: 2 * time.Hour})
	in := integration(t, u)
	var sessions []*providertest.Session
	var cursor contracts.Cursor
	for range 20 {
		session := &providertest.Session{From: cursor}
		err := github.Provider{}.SyncIncremental(t.Context(), in, session)
		if deferral, ok := contracts.AsDeferral(err); ok {
			clock.at.Add(int64(deferral.Delay))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, session)
		next := reduce(t, session)
		if forward, err := contracts.Advances(github.Provider{}, cursor, next); err != nil || !forward {
			break
		}
		cursor = next
	}
	if len(sessions) < 3 {
		t.Errorf("%d runs, want several", len(sessions))
	}
	wantLastVersions(t, u, sessions...)
	// A full sync is whole or is not at all.
	u.Calm()
	err := github.Provider{}.Sync(t.Context(), in, &providertest.Session{})
	if _, ok := contracts.AsDeferral(err); !ok {
		t.Errorf("a full sync of more than the budget: %v, want a deferral", err)
	}
}

func TestAServerThatIgnoresSortIsRefused(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 350, Seed: 2, IgnoreSort: true})
	err := github.Provider{}.Sync(t.Context(), integration(t, u), &providertest.Session{})
	if !contracts.IsPermanent(err) || !strings.Contains(err.Error(), "ignores sort=updated") {
		t.Errorf("got %v", err)
	}
}

// A record from the future comes through, and does not carry the cursor there.
func TestARecordFromTheFuture(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 20, Seed: 2, Now: newClock(time.Second).now})
	if err := u.AddRaw([]byte(`{"id":77,"number":500,"updated_at":"2031-01-01T00:00:00Z","state":"open"}`), false); err != nil {
		t.Fatal(err)
	}
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(session.IDs("github.Issue"), "500") {
		t.Error("the record was left out")
	}
	cursor, err := reduce(t, session).Time()
	if err != nil || cursor.Year() != 2025 {
		t.Errorf("the cursor is %s (%v), want the time of the run", cursor, err)
	}
}

// GitHub's list of issues lags behind at times; the feed of comments tells.
func TestIssuesThatTheListLacksAreRecovered(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 40, Seed: 2, Now: newClock(time.Second).now})
	in := integration(t, u)
	first := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), in, first); err != nil {
		t.Fatal(err)
	}
	cursor := reduce(t, first)
	for _, number := range []int{7, 10} { // 10 is a pull request
		if _, err := u.AddComment(number, "me too"); err != nil {
			t.Fatal(err)
		}
		u.Hide(number)
	}
	// An edited comment leaves its issue as it was: it is not missing.
	old, err := firstIssueComment(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.EditComment(old.Key, "edited"); err != nil {
		t.Fatal(err)
	}
	second := &providertest.Session{From: cursor}
	if err := (github.Provider{}).SyncIncremental(t.Context(), in, second); err != nil {
		t.Fatal(err)
	}
	got := second.IDs("github.Issue")
	if !slices.Contains(got, "7") || slices.Contains(got, "10") || slices.Contains(got, strconv.Itoa(old.Issue)) {
		t.Errorf("issues %v, want 7, and neither the pull request 10 nor %d", got, old.Issue)
	}
	if !slices.Contains(second.IDs("github.IssueComment"), strconv.Itoa(old.Key)) {
		t.Errorf("the edited comment %d did not come", old.Key)
	}
}

func firstIssueComment(u *upstream.Upstream) (upstream.Record, error) {
	for r := range u.Comments() {
		if !r.IsPull && r.Issue != 7 {
			return r, nil
		}
	}
	return upstream.Record{}, errors.New("no comment on an issue")
}

func TestUnchangedAnswersCostNothing(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 250, Seed: 2})
	provider := github.New()
	in := providertest.Integration(t, provider, github.Credentials{Token: u.Token()}, metadata(u), nil)
	first, second := &providertest.Session{}, &providertest.Session{}
	if err := provider.Sync(t.Context(), in, first); err != nil {
		t.Fatal(err)
	}
	asked := u.Stats()
	if err := provider.Sync(t.Context(), in, second); err != nil {
		t.Fatal(err)
	}
	again := u.Stats()
	if asked.NotModified != 0 || again.NotModified != again.Requests-asked.Requests {
		t.Errorf("of %d requests of the second sync, %d were answered with 304", again.Requests-asked.Requests, again.NotModified)
	}
	if d := cmp.Diff(first.Items(), second.Items()); d != "" {
		t.Errorf("what is remembered differs from what was sent (-first +second):\n%s", d)
	}
	title := "New"
	if err := u.Edit(9, upstream.Change{Title: &title}); err != nil {
		t.Fatal(err)
	}
	third := &providertest.Session{}
	if err := provider.Sync(t.Context(), in, third); err != nil {
		t.Fatal(err)
	}
	wantLastVersions(t, u, third)
}

// What is remembered is bounded, and nothing depends on it.
func TestLittleIsRemembered(t *testing.T) {
	t.Parallel()
	const most = 600 << 10
	u := start(t, upstream.Options{Issues: 450, Seed: 2, MaxPerPage: 20})
	provider := github.NewKeeping(most)
	in := providertest.Integration(t, provider, github.Credentials{Token: u.Token()}, metadata(u), nil)
	for range 2 {
		session := &providertest.Session{}
		if err := provider.Sync(t.Context(), in, session); err != nil {
			t.Fatal(err)
		}
		wantAll(t, u, session)
		if n := provider.KeptBytes(); n > most || n < most/2 {
			t.Errorf("%d bytes are kept, want most of %d", n, most)
		}
	}
}

func TestCancellationDuringASlowBody(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 100, Seed: 2})
	ctx, cancel := context.WithCancel(t.Context())
	u.Always(upstream.Fault{Name: "cancel", Serve: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		upstream.SlowBody(1000, time.Hour).Serve(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			cancel()
		}))
	}})
	if err := (github.Provider{}).Sync(ctx, integration(t, u), &providertest.Session{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
