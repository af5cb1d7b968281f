package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func (f flawed) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return f.since(ctx, in, session, time.Time{})
}

func (f flawed) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	var since time.Time
	if cursor, ok := session.Cursor(); ok && !f.is("not incremental") {
		var err error
		if since, err = cursor.Time(); err != nil && f.is("a strange cursor is now") {
			since, err = time.Now(), nil
		}
		if err != nil {
			return err
		}
		if f.is("starts a day before the cursor") { // which is no flaw
			since = since.AddDate(0, 0, -1)
		}
		if f.is("rounds the cursor") {
			since = since.Round(time.Hour)
		}
		if f.is("skips changes") {
			since = since.AddDate(1, 0, 0)
		}
	} else if !ok && f.is("the first sync is from today") {
		since = time.Now()
	}
	return f.since(ctx, in, session, since)
}

// since reads pages from a time on, and dispatches their notes.
func (f flawed) since(ctx context.Context, in *contracts.Integration, session contracts.SyncSession, since time.Time) (err error) {
	f.state.begin()
	if f.is("counts without a lock") {
		f.state.unguarded++
	}
	if f.is("waits for what does not come") {
		<-make(chan struct{})
	}
	if f.is("leaves goroutines behind") {
		go func() { <-f.state.end }()
	}
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.Format(time.RFC3339))
	}
	switch f.flaw {
	case "pages of a list that edits reorder":
		query.Set("page", "1")
	case "a list that is not in the order of edits":
		query.Set("page", "1")
		query.Set("sort", "created")
	}
	path := "/notes?" + query.Encode()
	for page := 1; path != ""; page++ {
		var listed []note
		listed, following, err := f.page(ctx, in, path)
		if err != nil {
			return f.failed(page, err)
		}
		if f.is("keeps the list") {
			f.state.list(listed...)
		}
		for _, n := range f.without(listed, page) {
			if f.is("only new ones are incremental") && !since.IsZero() && n.CreatedAt.Before(since) {
				continue
			}
			if stop, err := f.dispatch(ctx, in, session, n); stop {
				return err
			}
		}
		if f.isLast(listed) {
			break
		}
		if !f.is("asks for one page for ever") {
			path = following
		}
	}
	for _, n := range f.state.list() {
		if stop, err := f.dispatch(ctx, in, session, n); stop {
			return err
		}
	}
	return nil
}

// isLast reports whether a flaw stops at a page.
func (f flawed) isLast(listed []note) bool {
	switch f.flaw {
	case "ignores the next link":
		return true
	case "stops at a short page":
		return len(listed) < notesAPage
	case "stops at an empty page":
		return len(listed) == 0
	}
	return false
}

// failed is what a flaw makes of a failed page.
func (f flawed) failed(page int, err error) error {
	_, deferred := contracts.AsDeferral(err)
	switch {
	case f.is("swallows failures"), f.is("swallows failures after page 1") && page > 1:
		return nil
	case f.is("swallows deferrals after page 1") && page > 1 && deferred:
		return nil
	case f.is("a cancelled sync is whole") && errors.Is(err, context.Canceled):
		return nil
	case f.is("hides the context's end") && errors.Is(err, context.Canceled):
		return errors.New("stopped")
	case f.is("a cancelled sync ends for good") && errors.Is(err, context.Canceled):
		return contracts.Permanent(err)
	}
	return err
}

// dispatch hands a note over; stop is true when the sync ends with err.
func (f flawed) dispatch(ctx context.Context, in *contracts.Integration, session contracts.SyncSession, n note) (stop bool, err error) {
	event, checkpoint, id := f.item(in, n)
	if f.is("dispatches later") {
		f.state.leave(func() { _ = session.Dispatch(context.WithoutCancel(ctx), event, checkpoint, id) })
		return false, nil
	}
	if f.is("remembers what it has seen") && !f.state.isNew(fmt.Sprint(n)) {
		return false, nil
	}
	err = session.Dispatch(ctx, event, checkpoint, id)
	switch {
	case err == nil, f.is("goes on when cancelled"):
		return false, nil
	case f.is("takes a refused item for the end"):
		return true, nil
	case f.is("hides what Dispatch returned"):
		return true, errors.New("dispatch " + id + ": " + err.Error())
	}
	return true, err
}

// item is a note as a flaw dispatches it.
func (f flawed) item(in *contracts.Integration, n note) (event, checkpoint any, id string) {
	event, checkpoint, id = n, n.UpdatedAt, n.ID
	switch f.flaw {
	case "not repeatable":
		id = fmt.Sprint(n.ID, rand.Uint64())
	case "one id for all":
		id = "note"
	case "no ids":
		id = ""
	case "the text for the id":
		id = n.Text
	case "ids with a prefix":
		id = "note-" + n.ID
	case "a map for an event":
		event = map[string]any{"id": n.ID, "text": n.Text}
	case "raw JSON for an event":
		event = json.RawMessage(`{"id":"` + n.ID + `"}`)
	case "a type without a name":
		event = struct{ ID, Text string }{n.ID, n.Text}
	case "secret in an event":
		credentials, _ := contracts.CredentialsOf[secrets](in)
		event = struct {
			note
			named
			Key string
		}{note: n, Key: credentials.Key}
	case "the reducer compares texts":
		checkpoint = n.UpdatedAt.Add(250 * time.Millisecond)
	case "the time of day for the checkpoint":
		checkpoint = time.Now()
	case "the creation for the checkpoint":
		checkpoint = n.CreatedAt
	case "no checkpoint":
		checkpoint = nil
	case "a checkpoint of another form":
		checkpoint = n.UpdatedAt.Format(time.RFC1123)
	case "a checkpoint of tomorrow":
		checkpoint = n.UpdatedAt.AddDate(0, 0, 1)
	case "the day for the checkpoint":
		checkpoint = n.UpdatedAt.Truncate(24 * time.Hour)
	}
	return event, checkpoint, id
}

// named gives an event a type name.
type named struct{}

func (named) EventType() string { return "test.Note" }

// Interface guards.
var (
	_ contracts.IncrementalSync = flawed{}
	_ contracts.WebhookHandler  = flawed{}
	_ contracts.OAuth2          = flawed{}
)
