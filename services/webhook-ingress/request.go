package webhookingress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/internal/directory"
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
	reply(w, a)
	g.Metrics.request(provider, a.label, g.Now().Sub(started))
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
	targets, refusal := g.targets(*key, r.PathValue("integration"))
	if refusal != nil {
		return *refusal
	}
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	default:
		return g.later("too many requests at this moment", "busy")
	}
	req, refusal := g.read(w, r)
	if refusal != nil {
		return *refusal
	}
	matching, refusal := g.verify(ctx, handler, targets, req)
	if refusal != nil {
		return *refusal
	}
	if len(matching) == 0 {
		g.refusals.note(*key, targets, r.PathValue("integration") != "")
		return answer{code: http.StatusForbidden, status: "the signature is missing or wrong", label: "refused"}
	}
	return g.store(ctx, handler, matching, req)
}

// targets are the integrations that the address stands for.
func (g *Ingress) targets(provider, name string) ([]*directory.Entry, *answer) {
	var found []*directory.Entry
	if name != "" {
		if entry := g.Directory.Find(name); entry != nil && entry.Provider() == provider && entry.Status != "disabled" {
			found = append(found, entry)
		}
	} else {
		for _, entry := range g.Directory.Of(provider) {
			if entry.Status != "disabled" {
				found = append(found, entry)
			}
		}
	}
	switch {
	case len(found) == 0 && g.Directory.Ready() != nil:
		later := g.later("this service has only just started", "starting")
		return nil, &later
	case len(found) == 0:
		none := unknown("no such integration")
		return nil, &none
	case len(found) > g.Settings.Candidates:
		return nil, &answer{
			code: http.StatusBadRequest, label: "ambiguous",
			status: fmt.Sprintf("more than %d integrations have this address; use %s/%s/<integration>/webhook", g.Settings.Candidates, g.Prefix, provider),
		}
	}
	return found, nil
}

// read reads the request as it came: a compressed body is what was signed, and is never inflated.
func (g *Ingress) read(w http.ResponseWriter, r *http.Request) (*contracts.WebhookRequest, *answer) {
	most := min(g.Settings.MaxBody, int64(g.Bus.MaxBody()-g.Settings.MaxHeader))
	tooLarge := &answer{code: http.StatusRequestEntityTooLarge, status: fmt.Sprintf("a webhook has %d bytes at most", most), label: "too-large"}
	if r.ContentLength > most {
		w.Header().Set("Connection", "close")
		return nil, tooLarge
	}
	// The time for the body begins with it, however long the connection was idle before.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.Settings.BodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, &answer{code: http.StatusBadRequest, status: "the connection broke", label: "broken"}
	}
	body, err := readBody(http.MaxBytesReader(w, r.Body, most), r.ContentLength)
	var exceeded *http.MaxBytesError
	switch {
	case errors.As(err, &exceeded):
		return nil, tooLarge
	case err != nil:
		return nil, &answer{code: http.StatusBadRequest, status: "the body did not arrive whole, or not in time", label: "broken"}
	}
	return &contracts.WebhookRequest{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: withHost(r), Body: body, ReceivedAt: g.Now().UTC().Truncate(time.Microsecond),
	}, nil
}

// readBody takes memory as the body arrives, not as it was announced.
func readBody(from io.Reader, announced int64) ([]byte, error) {
	const atFirst = 16 << 10
	var body bytes.Buffer
	body.Grow(int(min(max(announced, 0), atFirst)) + bytes.MinRead)
	_, err := body.ReadFrom(from)
	return body.Bytes(), err
}

// withHost puts the Host header back, which net/http keeps apart: some senders sign it.
func withHost(r *http.Request) http.Header {
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Host", r.Host)
	return header
}

// verify returns the integrations whose secrets give the signature. A challenge ends with its answer.
func (g *Ingress) verify(ctx context.Context, handler contracts.WebhookHandler, targets []*directory.Entry, req *contracts.WebhookRequest) ([]*directory.Entry, *answer) {
	challenger, challenges := handler.(contracts.WebhookChallenger)
	var matching []*directory.Entry
	for _, entry := range targets {
		if entry.Problem != nil {
			continue
		}
		if challenges {
			text, ok, err := g.challenge(ctx, challenger, entry, req)
			if ok && err == nil {
				return nil, &answer{code: http.StatusOK, text: text, label: "challenge"}
			}
			if ok {
				continue
			}
		}
		err := panics.Try("the provider", func() error { return handler.VerifyWebhookSignature(ctx, entry.Integration, req) })
		if err != nil {
			panics.Report(entry.Log(), err)
			entry.Log().Debug("webhook refused", "error", err)
			continue
		}
		matching = append(matching, entry)
	}
	return matching, nil
}

func (g *Ingress) challenge(ctx context.Context, challenger contracts.WebhookChallenger, entry *directory.Entry, req *contracts.WebhookRequest) (text []byte, ok bool, err error) {
	err = panics.Try("the provider", func() (err error) {
		text, ok, err = challenger.WebhookChallenge(ctx, entry.Integration, req)
		return err
	})
	return text, ok, err
}

// idOf is the id by which a second copy is recognised: the upstream's, or a hash of what was sent. ok is false for a hash.
func idOf(handler contracts.WebhookHandler, req *contracts.WebhookRequest) (id string, ok bool) {
	_ = panics.Try("the provider", func() error {
		id, ok = handler.WebhookDeliveryID(req)
		return nil
	})
	if ok && id != "" {
		return printable(id), true
	}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\n%s\n", req.Method, req.Query)
	h.Write(req.Body)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), false
}

// printable stands for an id in headers and in columns: itself, or its hash when it is long or has characters that these don't take.
func printable(id string) string {
	const most = 200
	fit := len(id) <= most
	for i := 0; i < len(id) && fit; i++ {
		fit = id[i] > ' ' && id[i] < 0x7f
	}
	if fit {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "id-sha256:" + hex.EncodeToString(sum[:])
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
