package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
)

// flawed is a provider that keeps its contracts, but for one flaw.
type flawed struct {
	contracts.TypedCredentials[secrets]
	contracts.TypedMetadata[place]
	contracts.MaxTime
	flaw string
	runs *atomic.Int32
}

type secrets struct {
	Key string `json:"key" validate:"required"`
}

type place struct {
	URL string `json:"url" validate:"required"`
}

type note struct {
	ID        string    `json:"id"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (f flawed) Name() string {
	if f.flaw == "no name" {
		return ""
	}
	return "Notes"
}

func (flawed) DefaultSyncInterval() time.Duration     { return time.Minute }
func (flawed) DefaultRateLimit() *contracts.RateLimit { return nil }

func (f flawed) Authenticate(in *contracts.Integration, req *http.Request) error {
	to, err := contracts.MetadataOf[place](in)
	if err != nil {
		return err
	}
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return err
	}
	if f.flaw == "leaks to foreign hosts" || strings.HasPrefix(req.URL.String(), to.URL) {
		req.Header.Set("X-Key", credentials.Key)
	}
	return nil
}

func (f flawed) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	if f.flaw == "always healthy" {
		return nil
	}
	_, err := f.fetch(ctx, in)
	return err
}

func (f flawed) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return f.since(ctx, in, session, time.Time{})
}

func (f flawed) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	var since time.Time
	if cursor, ok := session.Cursor(); ok && f.flaw != "not incremental" {
		var err error
		if since, err = cursor.Time(); err != nil {
			return err
		}
		if f.flaw == "skips changes" {
			since = since.AddDate(1, 0, 0)
		}
	}
	return f.since(ctx, in, session, since)
}

func (f flawed) since(ctx context.Context, in *contracts.Integration, session contracts.SyncSession, since time.Time) error {
	notes, err := f.fetch(ctx, in)
	if err != nil {
		if f.flaw == "swallows failures" {
			return nil
		}
		return err
	}
	for _, n := range notes {
		if n.UpdatedAt.Before(since) {
			continue
		}
		if f.flaw == "not repeatable" {
			n.ID = fmt.Sprint(n.ID, f.runs.Add(1))
		}
		if err := session.Dispatch(ctx, n, n.UpdatedAt, n.ID); err != nil && f.flaw != "goes on when cancelled" {
			return err
		}
	}
	return nil
}

func (f flawed) fetch(ctx context.Context, in *contracts.Integration) ([]note, error) {
	to, err := contracts.MetadataOf[place](in)
	if err != nil {
		return nil, err
	}
	if f.flaw == "does not pass the context on" {
		ctx = context.WithoutCancel(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.URL, nil)
	if err != nil {
		return nil, err
	}
	res, err := in.HTTP().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil && f.flaw != "passes over cut bodies" {
		return nil, err
	}
	if res.StatusCode == http.StatusTooManyRequests && f.flaw != "does not defer" {
		seconds, err := time.ParseDuration(res.Header.Get("Retry-After") + "s")
		return nil, errors.Join(contracts.RetryAfter(seconds, errors.New("too many requests")), err)
	}
	if res.StatusCode != http.StatusOK {
		credentials, err := contracts.CredentialsOf[secrets](in)
		switch f.flaw {
		case "secret in an error":
			return nil, errors.Join(fmt.Errorf("key %s: %s", credentials.Key, res.Status), err)
		case "secret in a log":
			in.Log().Warn("refused", "key", credentials.Key)
		}
		return nil, errors.Join(errors.New(res.Status), err)
	}
	var notes []note
	if f.flaw == "passes over cut bodies" && len(raw) < 20 {
		return nil, nil
	}
	return notes, json.Unmarshal(raw, &notes)
}

// TestFlawed is not a test of its own: TestTheSuiteFindsFlaws runs it in another process, where it is to fail.
func TestFlawed(t *testing.T) {
	flaw, ok := os.LookupEnv("PROVIDERTEST_FLAW")
	if !ok {
		t.Skip("runs only as a part of TestTheSuiteFindsFlaws")
	}
	var changed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "a-key-of-some-length" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		notes := []note{}
		for i := range 12 {
			n := note{ID: fmt.Sprint("n", i), UpdatedAt: time.Date(2024, 1, 1+i, 0, 0, 0, 0, time.UTC)}
			if i == 3 && changed.Load() {
				n.UpdatedAt = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
			}
			notes = append(notes, n)
		}
		if err := json.NewEncoder(w).Encode(notes); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	providertest.Run(t, providertest.Suite{
		Provider: flawed{flaw: flaw, runs: &atomic.Int32{}}, Key: "notes",
		Credentials: secrets{Key: "a-key-of-some-length"}, Metadata: place{URL: server.URL}, Client: server.Client(),
		Change: func(testing.TB) string { changed.Store(true); return "n3" },
	})
}

func TestTheSuiteFindsFlaws(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for flaw, says := range map[string]string{
		"":                             "",
		"no name":                      "Name is empty",
		"leaks to foreign hosts":       "a request to https://foreign.example/x holds a credential",
		"always healthy":               "HealthCheck is healthy although the upstream answers 401",
		"not incremental":              "an incremental sync enumerates all 12 items again",
		"skips changes":                `record "n3" was changed, but an incremental sync does not have it`,
		"swallows failures":            "500: the sync ends as if it were complete",
		"not repeatable":               "two syncs of the same upstream differ",
		"goes on when cancelled":       "cancelled at the first item: 11 more were dispatched",
		"does not pass the context on": "the sync does not notice that its context is done",
		"passes over cut bodies":       "cut body: the sync ends as if it were complete",
		"does not defer":               "want a deferral of that time",
		"secret in an error":           "an error holds a credential",
		"secret in a log":              "the log holds a credential",
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), program, "-test.run=^TestFlawed$", "-test.timeout=2m")
			run.Env = append(os.Environ(), "PROVIDERTEST_FLAW="+flaw)
			out, err := run.CombinedOutput()
			if hasFailed := err != nil; hasFailed != (says != "") || !strings.Contains(string(out), says) {
				t.Errorf("failed: %t; want it to say %q:\n%s", hasFailed, says, out)
			}
		})
	}
}
