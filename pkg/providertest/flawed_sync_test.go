package providertest_test

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
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
		if since, err = cursor.Time(); err != nil {
			return err
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
		path = following
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

func (f flawed) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return err
	}
	given := req.Header.Get("X-Signature")
	switch {
	case f.is("accepts every delivery"), f.is("accepts unsigned deliveries") && given == "":
		return nil
	case f.is("verification panics without a signature"):
		_ = req.Header["X-Signature"][0]
	case f.is("signs only the beginning"):
		if given != "" && credentials.Secret != "" && strings.HasPrefix(string(req.Body), `{"note"`) {
			return nil
		}
	case f.is("secret in a refusal"):
		if !hmac.Equal([]byte(given), []byte(signature(req.Body))) {
			return fmt.Errorf("not signed with %s", credentials.Secret)
		}
	case f.is("accepts without a secret") && credentials.Secret == "":
		return nil
	case f.is("compares signatures in the time of their likeness") && credentials.Secret != "":
		if given == signature(req.Body) {
			return nil
		}
	}
	if credentials.Secret == "" || !hmac.Equal([]byte(given), []byte(signature(req.Body))) {
		return errors.New("the signature is wrong")
	}
	return nil
}

func (f flawed) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	if f.is("random types of deliveries") {
		return fmt.Sprint("note.", rand.Uint64()), true
	}
	var body struct{ Type string }
	_ = json.Unmarshal(req.Body, &body)
	return body.Type, body.Type != ""
}

func (f flawed) WebhookHandlers() map[string]contracts.WebhookFunc {
	if f.is("handlers for other types") {
		return map[string]contracts.WebhookFunc{"note.deleted": f.HandleWebhook}
	}
	return nil
}

func (f flawed) WebhookDeliveryID(req *contracts.WebhookRequest) (string, bool) {
	switch f.flaw {
	case "constant delivery ids":
		return "delivery", true
	case "random delivery ids":
		return fmt.Sprint(rand.Uint64()), true
	case "empty delivery ids":
		return "", true
	}
	id := req.Header.Get("X-Delivery")
	return id, id != ""
}

func (f flawed) WebhookOrderingKey(req *contracts.WebhookRequest) (string, bool) {
	var body struct{ Note note }
	_ = json.Unmarshal(req.Body, &body)
	switch f.flaw {
	case "one ordering key for all":
		return "note", true
	case "random ordering keys":
		return fmt.Sprint(rand.Uint64()), true
	}
	return body.Note.ID, body.Note.ID != ""
}

// pushed is another type than the sync's.
type pushed note

func (f flawed) HandleWebhook(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	var body struct {
		Note *note `json:"note"`
	}
	if err := json.Unmarshal(req.Body, &body); err != nil {
		if f.is("takes garbled deliveries for done") {
			return nil, nil
		}
		return nil, contracts.Permanent(err)
	}
	if body.Note == nil && !f.is("a handler that expects a note") {
		return nil, contracts.Permanent(errors.New("the delivery is about no note"))
	}
	n := *body.Note
	switch f.flaw {
	case "the handler does nothing":
		return "done", nil
	case "the handler panics":
		panic("not yet written")
	case "the handler fails":
		return nil, errors.New("not yet written")
	case "the handler skips everything":
		return nil, contracts.Skip("later")
	case "the handler changes the body":
		req.Body[len(req.Body)-1] = ' '
	case "the handler returns what is not JSON":
		return math.Inf(1), contracts.Dispatch(ctx, n, n.UpdatedAt, n.ID)
	case "the handler returns a secret":
		credentials, _ := contracts.CredentialsOf[secrets](in)
		return credentials, contracts.Dispatch(ctx, n, n.UpdatedAt, n.ID)
	case "another id in a webhook":
		return nil, contracts.Dispatch(ctx, n, n.UpdatedAt, "note-"+n.ID)
	case "another type in a webhook":
		return nil, contracts.Dispatch(ctx, pushed(n), n.UpdatedAt, n.ID)
	case "another checkpoint in a webhook":
		return nil, contracts.Dispatch(ctx, n, req.ReceivedAt, n.ID)
	case "no checkpoint in a webhook":
		return nil, contracts.Dispatch(ctx, n, nil, n.ID)
	}
	return map[string]string{"note": n.ID}, contracts.Dispatch(ctx, n, n.UpdatedAt, n.ID)
}

// Interface guards.
var (
	_ contracts.IncrementalSync = flawed{}
	_ contracts.WebhookHandler  = flawed{}
	_ contracts.OAuth2          = flawed{}
)
