package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

func TestFaultsStrikeWhenTheyAreMeantTo(t *testing.T) {
	t.Parallel()
	statuses := func(u *upstream.Upstream, n int) (all []int) {
		for range n {
			all = append(all, ask(t, u, http.MethodGet, "/issues/1", "").status)
		}
		return all
	}
	u := start(t, upstream.Options{Issues: 1, Seed: 1})
	u.Next(2, upstream.ServerError(502))
	if d := cmp.Diff([]int{502, 502, 200}, statuses(u, 3)); d != "" {
		t.Errorf("Next: %s", d)
	}
	u.After(2, upstream.ExpiredToken())
	if d := cmp.Diff([]int{200, 200, 401, 401}, statuses(u, 4)); d != "" {
		t.Errorf("After: %s", d)
	}
	if a := ask(t, u, http.MethodPatch, "/issues/1", `{"title":"x"}`); a.status != 200 {
		t.Errorf("a fault strikes an edit: %d", a.status)
	}
	u.Calm()
	if d := cmp.Diff([]int{200}, statuses(u, 1)); d != "" {
		t.Errorf("Calm: %s", d)
	}
	if d := cmp.Diff(map[string]int{"server-error": 2, "expired-token": 2}, u.Stats().Faults); d != "" {
		t.Errorf("counts: %s", d)
	}
	u.Chance(0.5, upstream.ServerError(500))
	first := statuses(u, 40)
	again := start(t, upstream.Options{Issues: 1, Seed: 1})
	again.Chance(0.5, upstream.ServerError(500))
	if d := cmp.Diff(first, statuses(again, 40)); d != "" {
		t.Errorf("Chance is not the seed's: %s", d)
	}
	if n := u.Stats().Faults["server-error"] - 2; n == 0 || n == 40 {
		t.Errorf("a chance of one half struck %d of 40 times", n)
	}
}

func TestFaultsCompose(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 30, Seed: 1})
	u.Always(upstream.SlowBody(1<<10, time.Microsecond))
	u.Always(upstream.Duplicates())
	u.Always(upstream.ForeignLink("https://foreign.example"))
	a := ask(t, u, http.MethodGet, "/issues?state=all&per_page=10", "")
	got := list(t, a)
	if len(got) != 11 || got[0].Number != got[10].Number {
		t.Errorf("%d records, want 10 and the first again", len(got))
	}
	if next := follow(a.header.Get("Link"))["next"]; !strings.HasPrefix(next, "https://foreign.example/repos/") {
		t.Errorf("next is %s", next)
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 30, Seed: 1})
	read := func() ([]byte, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.URL()+"/repos/demo/issues/issues", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+u.Token())
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		return io.ReadAll(res.Body)
	}
	u.Next(1, upstream.CutBody())
	if raw, err := read(); !errors.Is(err, io.ErrUnexpectedEOF) || len(raw) == 0 {
		t.Errorf("a cut body: %d bytes, %v", len(raw), err)
	}
	u.Calm()
	u.Next(1, upstream.CutConnection())
	if _, err := read(); err == nil {
		t.Error("a cut connection: no error")
	}
	u.Calm()
	u.Next(1, upstream.MalformedJSON())
	if raw, err := read(); err != nil || json.Valid(raw) {
		t.Errorf("malformed JSON: %v, valid: %t", err, json.Valid(raw))
	}
}

func TestLatencyEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 1})
	ctx, cancel := context.WithCancel(t.Context())
	u.Always(upstream.Fault{Name: "hang", Serve: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		cancel()
		upstream.Latency(time.Hour).Serve(w, r, next)
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL()+"/repos/demo/issues", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		res.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestShiftMovesWhatIsBeingRead(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 50, Seed: 1})
	before := map[int]time.Time{}
	for r := range u.Issues() {
		before[r.Key] = r.UpdatedAt
	}
	u.Next(1, u.Shift(5))
	list(t, ask(t, u, http.MethodGet, "/issues", ""))
	moved := 0
	for r := range u.Issues() {
		if r.UpdatedAt.After(before[r.Key]) {
			moved++
		}
	}
	if moved == 0 || moved > 5 {
		t.Errorf("%d records moved", moved)
	}
}
