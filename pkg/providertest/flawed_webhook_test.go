package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// changed is a delivery: it names notes, and its handler asks for them.
type changed struct {
	Account string   `json:"account"`
	Type    string   `json:"type"`
	Notes   []string `json:"notes"`
}

func (f flawed) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	if f.is("random types of deliveries") {
		return fmt.Sprint("note.", rand.Uint64()), true
	}
	var body changed
	_ = json.Unmarshal(req.Body, &body)
	return body.Type, body.Type != ""
}

func (f flawed) WebhookHandlers() map[string]contracts.WebhookFunc {
	switch f.flaw {
	case "handlers for other types":
		return map[string]contracts.WebhookFunc{"note.deleted": f.HandleWebhook}
	case "handlers that come and go":
		types := map[string]contracts.WebhookFunc{"note.changed": f.HandleWebhook}
		if rand.IntN(2) == 0 {
			types["note.deleted"] = f.HandleWebhook
		}
		return types
	case "a type whose handler is nothing":
		return map[string]contracts.WebhookFunc{"note.changed": f.HandleWebhook, "note.deleted": nil}
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
	case "the note's id for the delivery's":
		return f.WebhookOrderingKey(req)
	}
	id := req.Header.Get("X-Delivery")
	return id, id != ""
}

func (f flawed) WebhookOrderingKey(req *contracts.WebhookRequest) (string, bool) {
	var body changed
	_ = json.Unmarshal(req.Body, &body)
	switch {
	case f.is("one ordering key for all"):
		return "note", true
	case f.is("random ordering keys"):
		return fmt.Sprint(rand.Uint64()), true
	case f.is("an empty ordering key"):
		return "", true
	case f.is("an ordering key for each delivery"):
		return req.Header.Get("X-Delivery"), true
	case len(body.Notes) == 0 && !f.is("an ordering key of what may be missing"):
		return "", false
	}
	return body.Notes[0], true
}

// pushed is another type than the sync's.
type pushed note

func (f flawed) HandleWebhook(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	var body changed
	if err := json.Unmarshal(req.Body, &body); err != nil {
		switch f.flaw {
		case "takes garbled deliveries for done":
			return nil, nil
		case "tries garbled deliveries again":
			return nil, err
		}
		return nil, contracts.Permanent(err)
	}
	switch {
	case f.is("a handler that expects a note"):
		_ = body.Notes[0]
	case f.is("a handler that knows all types") && body.Type != "" && body.Type != "note.changed":
		panic("unknown type")
	case f.is("handles a delivery once") && !f.state.isNew(req.Header.Get("X-Delivery")):
		return nil, nil
	case f.is("the handler does nothing"):
		return "done", nil
	case f.is("the handler panics"):
		panic("not yet written")
	case f.is("the handler fails"):
		return nil, errors.New("not yet written")
	case f.is("the handler skips everything"):
		return nil, contracts.Skip("later")
	case f.is("counts deliveries without a lock"):
		f.state.unguarded++
	case f.is("the handler drops a header"):
		req.Header.Del("X-Delivery")
	case f.is("the handler changes the body"):
		req.Body[len(req.Body)-1] = ' '
	}
	return f.take(ctx, in, req, body.Notes)
}

// take dispatches the notes that a delivery names.
func (f flawed) take(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest, ids []string) (any, error) {
	if len(ids) > 0 && f.is("handles the first of a batch") {
		ids = ids[:1]
	}
	if len(ids) > 0 && f.is("handles the last of a batch") {
		ids = ids[len(ids)-1:]
	}
	for _, id := range ids {
		n, err := f.fetch(ctx, in, id)
		if err != nil {
			return nil, f.unfetched(err)
		}
		if err := f.push(ctx, req, n); err != nil && !f.is("passes over what Dispatch returns") {
			if f.is("what Dispatch returns ends a delivery") {
				err = contracts.Permanent(err)
			}
			return nil, err
		}
	}
	switch f.flaw {
	case "the handler returns what is not JSON":
		return math.Inf(1), nil
	case "the handler returns a secret":
		return contracts.CredentialsOf[secrets](in)
	}
	return map[string]int{"notes": len(ids)}, nil
}

func (f flawed) push(ctx context.Context, req *contracts.WebhookRequest, n note) error {
	switch f.flaw {
	case "another id in a webhook":
		return contracts.Dispatch(ctx, n, n.UpdatedAt, "note-"+n.ID)
	case "another type in a webhook":
		return contracts.Dispatch(ctx, pushed(n), n.UpdatedAt, n.ID)
	case "another checkpoint in a webhook":
		return contracts.Dispatch(ctx, n, req.ReceivedAt, n.ID)
	case "no checkpoint in a webhook":
		return contracts.Dispatch(ctx, n, nil, n.ID)
	case "less content in a webhook":
		n.Text = ""
	}
	return contracts.Dispatch(ctx, n, n.UpdatedAt, n.ID)
}

// fetch asks for one note.
func (f flawed) fetch(ctx context.Context, in *contracts.Integration, id string) (note, error) {
	if n, ok := f.state.alreadyFetched(id); ok && f.is("keeps the notes that it has fetched") {
		return n, nil
	}
	if f.is("fetches without the context") {
		ctx = contracts.WithAttempts(context.WithoutCancel(ctx), 1)
	}
	res, err := f.ask(ctx, in, "/notes/"+id)
	if err != nil {
		return note{}, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return note{}, contracts.Skip("the note is gone")
	}
	if res.StatusCode != http.StatusOK {
		return note{}, errors.New(res.Status)
	}
	var n note
	if err := json.NewDecoder(res.Body).Decode(&n); err != nil {
		return note{}, err
	}
	if n.ID != id && !f.is("takes every answer for a note") {
		return note{}, errors.New("the answer is no note")
	}
	f.state.keep(n)
	return n, nil
}

// unfetched is what a delivery comes to whose note can't be read.
func (f flawed) unfetched(err error) error {
	_, deferred := contracts.AsDeferral(err)
	switch {
	case f.is("takes a failed fetch for done"):
		return nil
	case f.is("skips a failed fetch"):
		return contracts.Skip("the note can't be read")
	case f.is("a failed fetch ends a delivery"):
		return contracts.Permanent(err)
	case f.is("loses a deferral of a fetch") && deferred:
		return errors.New("fetch: " + err.Error())
	}
	return err
}

// Interface guards.
var (
	_ contracts.WebhookChallenger = flawed{}
	_ contracts.WebhookSharer     = flawed{}
	_ contracts.WebhookOrderer    = flawed{}
)
