package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/tributaryhq/tributary/pkg/app"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/providers/github"
)

// entry is a record of the test's upstream. Its Seq grows with every change to anything and is its checkpoint.
type entry struct {
	ID   string `json:"id"`
	Seq  int64  `json:"seq"`
	Body string `json:"body"`
}

func (entry) EventType() string { return "feed.Entry" }

// feedMetadata tells the provider where the test listens.
type feedMetadata struct {
	URL string `json:"url" validate:"required"`
}

// feed is a provider whose upstream is the test.
type feed struct {
	contracts.NoCredentials
	contracts.TypedMetadata[feedMetadata]
	contracts.MaxNumber
}

func feedProviders() app.Providers {
	return app.Providers{
		"feed": feed{}, "list": listProvider{}, "guarded": guarded{}, "hasty": hasty{}, "talkative": talkative{},
		"boastful": boastful{}, "hooked": hooked{}, "ordered": ordered{}, "quiet": quiet{}, "rationed": rationed{},
		"table": table{}, "shop": shopWithKeys{}, "kiosk": kiosk{}, "account": newAccount(), "github": github.New(),
	}
}

func (feed) Name() string                           { return "Feed" }
func (feed) DefaultSyncInterval() time.Duration     { return time.Hour }
func (feed) DefaultRateLimit() *contracts.RateLimit { return nil }

func (f feed) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return enumerate(ctx, in, session, 0)
}

func (f feed) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	after := int64(0)
	if cursor, ok := session.Cursor(); ok {
		if err := cursor.Decode(&after); err != nil {
			return contracts.Permanent(err)
		}
	}
	return enumerate(ctx, in, session, after)
}

// table is a feed of which the application handles nothing, so that its records are stored.
type table struct{ feed }

func (p table) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return p.feed.Sync(ctx, in, quietSession{session})
}

func (p table) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return p.feed.SyncIncremental(ctx, in, quietSession{session})
}

// quietSession hands records over as events for which the application has no handler.
type quietSession struct{ contracts.SyncSession }

func (s quietSession) Dispatch(ctx context.Context, event, checkpoint any, externalID string) error {
	if e, ok := event.(entry); ok {
		event = quietEntry{e}
	}
	return s.SyncSession.Dispatch(ctx, event, checkpoint, externalID)
}

// listProvider reduces to the last checkpoint in enumeration order.
type listProvider struct {
	contracts.NoCredentials
	contracts.TypedMetadata[feedMetadata]
}

func (listProvider) Name() string                           { return "List" }
func (listProvider) DefaultSyncInterval() time.Duration     { return time.Hour }
func (listProvider) DefaultRateLimit() *contracts.RateLimit { return nil }

func (listProvider) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return enumerate(ctx, in, session, 0)
}

func (listProvider) ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	if path := os.Getenv("TRIBUTARY_E2E_REDUCER_FAILS"); path != "" {
		if _, err := os.Stat(path); err == nil {
			return nil, errors.New("the reducer is broken")
		}
	}
	if path := os.Getenv("TRIBUTARY_E2E_REDUCER_EXITS"); path != "" {
		if _, err := os.Stat(path); err == nil {
			os.Exit(9)
		}
	}
	var last contracts.Cursor
	for _, c := range checkpoints {
		if c != nil {
			last = contracts.Cursor(c)
		}
	}
	return last, nil
}

func enumerate(ctx context.Context, in *contracts.Integration, session contracts.SyncSession, after int64) error {
	metadata, err := contracts.MetadataOf[feedMetadata](in)
	if err != nil {
		return contracts.Permanent(err)
	}
	for {
		page, err := readPage(ctx, in, metadata.URL, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, e := range page {
			after = e.Seq
			if err := session.Dispatch(ctx, eventOf(e), checkpointOf(e), e.ID); err != nil {
				return err
			}
		}
	}
}

func readPage(ctx context.Context, in *contracts.Integration, base string, after int64) ([]entry, error) {
	if in.Provider() != "guarded" {
		// The tests of runs count what fails; they don't want it sent again.
		ctx = contracts.WithAttempts(ctx, 1)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/items?after=%d", base, after), nil)
	if err != nil {
		return nil, err
	}
	resp, err := in.HTTP().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		var page []entry
		err = json.Unmarshal(body, &page)
		return page, err
	case http.StatusForbidden:
		return nil, contracts.Permanent(errors.New("the upstream refuses"))
	case http.StatusTeapot:
		panic("the provider panics")
	}
	return nil, fmt.Errorf("the upstream answers %d", resp.StatusCode)
}

// broken can't be encoded.
type broken struct{ entry }

func (broken) MarshalJSON() ([]byte, error) { return nil, errors.New("this entry can't be encoded") }
func (broken) EventType() string            { return "feed.Entry" }

func eventOf(e entry) any {
	switch e.Body {
	case "unencodable":
		return broken{e}
	case "huge":
		e.Body = strings.Repeat("x", 2<<20)
	}
	return e
}

func checkpointOf(e entry) any {
	if e.Body == "no checkpoint" {
		return nil
	}
	return e.Seq
}

// verdict is what the test answers to a handler.
type verdict struct {
	Do    string        `json:"do"`
	Delay time.Duration `json:"delay"`
	// Status, unless 0, is answered instead of the verdict, with Wait as its Retry-After.
	Status int    `json:"-"`
	Wait   string `json:"-"`
}

// handled is what a handler tells the test before it returns.
type handled struct {
	Entry entry  `json:"entry"`
	Run   string `json:"run"`
	Item  string `json:"item"`
	Try   int    `json:"try"`
}

// handleEntry is the application's handler: it asks the test what to do.
func handleEntry(ctx context.Context, in *contracts.Integration, e entry) error {
	metadata, err := contracts.MetadataOf[feedMetadata](in)
	if err != nil {
		return err
	}
	if in.Provider() == "shop" || in.Provider() == "kiosk" {
		return placeOrder(ctx, in, e)
	}
	attempt, _ := contracts.AttemptFrom(ctx)
	body, err := json.Marshal(handled{Entry: e, Run: attempt.Run, Item: attempt.Item, Try: attempt.Try})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, metadata.URL+"/handle", bytes.NewReader(body))
	if err != nil {
		return err
	}
	client := http.DefaultClient
	if in.Provider() == "guarded" {
		client = in.HTTP()
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the upstream answers %d", resp.StatusCode)
	}
	var v verdict
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return err
	}
	return obey(v)
}

func obey(v verdict) error {
	switch cmp.Or(v.Do, "ok") {
	case "ok":
		return nil
	case "fail":
		return errors.New("the handler fails")
	case "permanent":
		return contracts.Permanent(errors.New("the handler gives up"))
	case "skip":
		return contracts.Skip("not needed")
	case "defer":
		return contracts.RetryAfter(v.Delay, errors.New("not yet"))
	case "panic":
		panic("the handler panics")
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return fmt.Errorf("unknown verdict %q", v.Do)
}
