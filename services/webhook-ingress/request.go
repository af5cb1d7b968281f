package webhookingress

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/httpserver"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// answer is what a sender gets.
type answer struct {
	code   int
	status string
	// text is sent in the place of the status, as the answer to a challenge.
	text  []byte
	retry time.Duration
	// label is the answer's name in the metrics.
	label string
}

func unknown(why string) answer {
	return answer{code: http.StatusNotFound, status: why, label: "unknown"}
}

// serve answers one request. What is cheap to refuse is refused before what is dear: the size before the signature, the signature before the broker.
func (g *Ingress) serve(w http.ResponseWriter, r *http.Request) {
	started := g.Now()
	ctx, span := g.Tracer.Start(context.WithoutCancel(r.Context()), "take webhook")
	defer span.End()
	provider := "unknown"
	a := g.take(ctx, w, r, &provider)
	if a.code >= http.StatusBadRequest {
		closeUnread(w, r)
	}
	reply(w, a)
	g.Metrics.request(provider, a.label, g.Now().Sub(started))
}

// closeUnread ends the connection of a request whose body may not be read: its sender is not waited for.
func closeUnread(w http.ResponseWriter, r *http.Request) {
	if r.Body != http.NoBody {
		w.Header().Set("Connection", "close")
	}
}

func (g *Ingress) take(ctx context.Context, w http.ResponseWriter, r *http.Request, key *string) answer {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		return answer{code: http.StatusMethodNotAllowed, status: "webhooks are sent by POST or GET", label: "method"}
	}
	provider, err := g.Registry.Provider(r.PathValue("provider"))
	if err != nil {
		return unknown("no such provider here")
	}
	*key = r.PathValue("provider")
	handler, ok := provider.(contracts.WebhookHandler)
	if !ok {
		return answer{code: http.StatusBadRequest, status: "this provider takes no webhooks", label: "no-webhooks"}
	}
	to, refusal := g.addressed(ctx, *key, r.PathValue("integration"), handler)
	if refusal != nil {
		return *refusal
	}
	client := g.server.Client(r)
	if !g.requests.Take(client, 1) {
		return g.later("too many requests from this address at this moment", "share")
	}
	defer g.requests.Give(client, 1)
	in := &incoming{ingress: g, client: client, most: g.mostBytes(to)}
	defer in.release()
	req, refusal := in.read(w, r)
	if refusal != nil {
		return *refusal
	}
	return g.judge(ctx, handler, to, client, req)
}

// judge verifies and stores a request that is there, in its turn.
func (g *Ingress) judge(ctx context.Context, handler contracts.WebhookHandler, to *address, client httpserver.Client, req *contracts.WebhookRequest) answer {
	waiting, cancel := context.WithTimeout(ctx, g.Settings.StoreTimeout)
	defer cancel()
	if !g.slots.take(waiting, client) {
		return g.later("too many requests at this moment", "busy")
	}
	defer g.slots.give()
	if !g.checks.take(waiting, client) {
		return g.later("too many requests at this moment", "busy")
	}
	matching, refusal := g.verify(ctx, handler, to, req)
	g.checks.give()
	if refusal != nil {
		return *refusal
	}
	if len(matching) == 0 {
		g.refusals.note(to.provider, to.named)
		return answer{code: http.StatusForbidden, status: "the signature is missing or wrong", label: "refused"}
	}
	recipients, refusal := g.recipients(ctx, handler, to, matching, req)
	if refusal != nil {
		return *refusal
	}
	return g.store(ctx, handler, recipients, req)
}

// verified is what a provider makes of a request: whose it is, or the answer to a challenge.
type verified struct {
	matching  []*candidate
	challenge *answer
}

// verify returns the candidates whose secrets give the signature. A challenge ends with its answer.
func (g *Ingress) verify(ctx context.Context, handler contracts.WebhookHandler, to *address, req *contracts.WebhookRequest) ([]*candidate, *answer) {
	is, err := ask(ctx, g.calls, to.provider, func(ctx context.Context) (is verified, err error) {
		for _, c := range to.candidates {
			if err := is.check(ctx, handler, c, req); err != nil || is.challenge != nil {
				return is, err
			}
		}
		return is, nil
	})
	if err != nil {
		later := g.noAnswer(to.provider, err)
		return nil, &later
	}
	return is.matching, is.challenge
}

// check asks the provider with one candidate. The error says that it came to no decision in its time.
func (is *verified) check(ctx context.Context, handler contracts.WebhookHandler, c *candidate, req *contracts.WebhookRequest) error {
	if challenger, challenges := handler.(contracts.WebhookChallenger); challenges {
		text, ok, err := challenge(ctx, challenger, c.first, req)
		if ok && err == nil {
			is.challenge = &answer{code: http.StatusOK, text: text, label: "challenge"}
			return nil
		}
		if ok {
			return unlessLate(ctx, err)
		}
	}
	err := panics.Try("the provider", func() error { return handler.VerifyWebhookSignature(ctx, c.first.Integration, req) })
	if err != nil {
		panics.Report(c.first.Log(), err)
		c.first.Log().Debug("webhook refused", "error", err)
		return unlessLate(ctx, err)
	}
	is.matching = append(is.matching, c)
	return nil
}

func challenge(ctx context.Context, challenger contracts.WebhookChallenger, entry *directory.Entry, req *contracts.WebhookRequest) (text []byte, ok bool, err error) {
	err = panics.Try("the provider", func() (err error) {
		text, ok, err = challenger.WebhookChallenge(ctx, entry.Integration, req)
		return err
	})
	return text, ok, err
}

// noAnswer puts a request off whose provider has not answered in its time.
func (g *Ingress) noAnswer(provider string, err error) answer {
	g.Log.Debug("webhook put off", "provider", provider, "error", err)
	return g.later("the provider's code does not answer", "stuck")
}

func (g *Ingress) later(why, label string) answer {
	return answer{code: http.StatusServiceUnavailable, status: why, retry: g.Settings.RetryAfter, label: label}
}

func reply(w http.ResponseWriter, a answer) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if a.retry > 0 {
		header.Set("Retry-After", strconv.Itoa(int(a.retry.Seconds())))
	}
	// The sender may be gone; then there is nobody to tell.
	if a.text != nil {
		header.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(a.code)
		_, _ = w.Write(a.text)
		return
	}
	header.Set("Content-Type", "application/json")
	w.WriteHeader(a.code)
	field := "status"
	if a.code >= http.StatusBadRequest {
		field = "error"
	}
	_ = json.NewEncoder(w).Encode(map[string]string{field: a.status})
}
