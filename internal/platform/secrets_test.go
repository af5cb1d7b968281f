package platform_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// marked is in every secret of this test, and nowhere else.
const marked = "hUnTeR2"

// discreet is a provider that says what is secret beyond what always is.
type discreet struct {
	contracts.TypedCredentials[discreetCredentials]
	contracts.NoMetadata
}

type discreetCredentials struct {
	Key string `json:"key" validate:"required"`
}

func (discreet) Name() string                    { return "Discreet" }
func (discreet) SupportsIdempotency()            {}
func (discreet) RateLimit() *contracts.RateLimit { return contracts.Per(1_000_000, time.Hour) }

func (discreet) Authenticate(in *contracts.Integration, req *http.Request) error {
	credentials, err := contracts.CredentialsOf[discreetCredentials](in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+credentials.Key)
	req.Header.Set("X-Shop-Access-Token", credentials.Key)
	return nil
}

func (discreet) SensitiveRequestFields() []string {
	return []string{"customer.iban", "cards.*.number", "notes"}
}

func (discreet) SensitiveResponseFields() []string {
	return []string{"owner.phone", "data.*.mail"}
}

// letter is a random request with secrets in many places.
type letter struct {
	random *rand.Rand
	n      int
}

func (l *letter) secret() string {
	l.n++
	return fmt.Sprintf("%s-%x", marked, l.random.Uint64())
}

// url has secrets in its query.
func (l *letter) url(path string) string {
	query := url.Values{"page": {"1"}}
	for _, name := range []string{"access_token", "api_key", "client_secret", "password", "sig", "token"} {
		if l.random.IntN(2) == 0 {
			query.Set(name, l.secret())
		}
	}
	return path + "?" + query.Encode()
}

// headers are names and values of headers that hold secrets.
func (l *letter) headers() []string {
	pairs := []string{"X-Visible", "visible"}
	for _, name := range []string{"Cookie", "X-Api-Key", "X-Auth-Token", "Proxy-Authorization", "X-Client-Secret", "X-Amz-Security-Token"} {
		if l.random.IntN(2) == 0 {
			pairs = append(pairs, name, l.secret())
		}
	}
	return pairs
}

// body is of one of the kinds that APIs take.
func (l *letter) body() (kind, body string) {
	switch l.random.IntN(4) {
	case 0:
		return "application/x-www-form-urlencoded", url.Values{"name": {"visible"}, "password": {l.secret()}, "client_secret": {l.secret()}}.Encode()
	case 1:
		var b bytes.Buffer
		form := multipart.NewWriter(&b)
		_ = form.WriteField("name", "visible")
		_ = form.WriteField("api_key", l.secret())
		_ = form.WriteField("password", l.secret())
		_ = form.Close()
		return form.FormDataContentType(), b.String()
	case 2:
		raw, _ := json.Marshal([]any{map[string]any{"name": "visible", "refresh_token": l.secret()}})
		return "application/json", string(raw)
	default:
		raw, _ := json.Marshal(map[string]any{
			"name": "visible", "customer": map[string]any{"iban": l.secret(), "name": "visible"}, "notes": map[string]any{"deep": []any{l.secret()}},
			"cards": []any{map[string]any{"number": l.secret()}, map[string]any{"number": l.secret(), "kind": "visible"}},
			"auth":  map[string]any{"password": l.secret(), "access_token": l.secret(), "private_key": l.secret()},
		})
		return "application/json", string(raw)
	}
}

// TestNoSecretIsKept sends requests full of secrets to upstreams that echo them, succeed and fail in every way, and then looks for the secrets in
// everything that the platform has stored, logged, traced and told. What is no secret must be there.
func TestNoSecretIsKept(t *testing.T) {
	w := newWire(t, discreet{})
	l := &letter{random: rand.New(rand.NewPCG(1, 2))}
	in := w.integration("main", discreetCredentials{Key: l.secret()})
	faults := []upstream.Fault{
		{Name: "none", Serve: func(rw http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(rw, r) }},
		{Name: "echo of a failure", Serve: func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
			rw.Header().Set("Set-Cookie", "session="+l.secret())
			rw.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = rw.Write(encoded(t, map[string]any{
				"owner": map[string]any{"phone": l.secret()}, "data": []any{map[string]any{"mail": l.secret()}}, "token": l.secret(), "message": "visible",
			}))
		}},
		upstream.ServerError(http.StatusNotImplemented), upstream.ResetRead(), upstream.LoseAnswer(), upstream.Garbage(), upstream.CutBody(),
		// One that asked to be left alone would not be sent the rest.
		upstream.TooManyRequests(0), upstream.ExpiredToken(),
	}
	for n := range 120 {
		ctx := contracts.WithAttempts(t.Context(), 1)
		kind, body := l.body()
		if n%3 == 0 {
			keyed, err := contracts.WithIdempotencyKey(ctx, fmt.Sprintf("key-%d", n))
			if err != nil {
				t.Fatal(err)
			}
			ctx = keyed
		}
		w.Next(1, faults[l.random.IntN(len(faults))])
		path := l.url([]string{"/echo", "/effects", "/json/200"}[l.random.IntN(3)])
		if _, _, err := w.do(ctx, in, http.MethodPost, path, body, append(l.headers(), "Content-Type", kind)...); err != nil {
			// As a handler would.
			in.Log().Warn("the request failed", "error", err)
		}
		w.Calm()
	}
	// When a kept connection breaks, net/http sends a request with an idempotency key again by itself.
	if n := len(w.requests()); n < 120 {
		t.Errorf("%d requests reached the upstream, want 120 at least", n)
	}
	w.wantNoSecrets()
	if n := strings.Count(w.tables(), "visible"); n < 120 {
		t.Errorf("what is no secret is kept %d times: too little", n)
	}
}

// sloppy enumerates items of which each fails with an error that quotes a URL with secrets, as does the enumeration at its end.
type sloppy struct {
	discreet
	contracts.MaxNumber
	w *testbed
	l *letter
}

func (*sloppy) DefaultSyncInterval() time.Duration     { return time.Hour }
func (*sloppy) DefaultRateLimit() *contracts.RateLimit { return nil }

func (p *sloppy) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	for n := range 4 {
		if err := session.Dispatch(ctx, number{n}, n, fmt.Sprint(n)); err != nil {
			return err
		}
	}
	return contracts.Permanent(p.fail(ctx, in))
}

// fail sends a request that gets no answer.
func (p *sloppy) fail(ctx context.Context, in *contracts.Integration) error {
	p.w.t.Helper()
	_, _, err := p.w.do(contracts.WithAttempts(ctx, 1), in, http.MethodPost, p.url("/echo"), "")
	return fmt.Errorf("tell the upstream: %w", err)
}

func (p *sloppy) url(path string) string {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.l.url(path) + "&access_token=" + p.l.secret()
}

// TestNoSecretIsKeptOfErrors returns errors of http.Client, which quote the URL, from handlers and an enumeration: what is kept of them in runs, dead
// items, checkpoints and events has no secrets.
func TestNoSecretIsKeptOfErrors(t *testing.T) {
	provider := &sloppy{l: &letter{random: rand.New(rand.NewPCG(3, 4))}}
	w := newWire(t, provider, func(w *testbed, config *platform.Config) {
		provider.w, w.services = w, platform.Services()
		config.ItemWorker.Tries = 2
		config.ItemWorker.Backoff = []time.Duration{10 * time.Millisecond}
		config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(number{}): {
			func(ctx context.Context, in *contracts.Integration, payload []byte) error {
				err := provider.fail(ctx, in)
				if strings.Contains(string(payload), "3") {
					return contracts.Skip(err.Error())
				}
				return err
			},
		}}
	})
	w.Always(upstream.ResetRead())
	due := time.Now()
	id := w.insert("main", discreetCredentials{Key: provider.l.secret()}, struct{}{}, &due)
	for closed := false; !closed; <-time.After(20 * time.Millisecond) {
		runs, err := w.Store.Queries.RunList(t.Context(), dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
		if err != nil {
			t.Fatal(err)
		}
		closed = len(runs) == 1 && runs[0].ClosedAt != nil
		if closed && (runs[0].Dead != 3 || runs[0].Skipped != 1 || !strings.Contains(runs[0].Error.String(), "connection reset")) {
			t.Errorf("%d dead, %d skipped, error %q", runs[0].Dead, runs[0].Skipped, runs[0].Error)
		}
	}
	w.wantNoSecrets()
}

// wantNoSecrets stops the platform and looks for secrets in everything that it has left behind.
func (w *testbed) wantNoSecrets() {
	w.t.Helper()
	w.stop()
	forms := []string{marked, hex.EncodeToString([]byte(marked)), base64.StdEncoding.EncodeToString([]byte(marked))[:8]}
	for place, text := range map[string]string{"Postgres": w.tables(), "the log": w.log.String(), "spans": w.spanned(), "NATS": w.said.String()} {
		for _, form := range forms {
			if at := strings.Index(text, form); at >= 0 {
				w.t.Errorf("a secret is in %s: …%s…", place, text[max(at-300, 0):min(at+100, len(text))])
			}
		}
		if text == "" {
			w.t.Errorf("nothing was found in %s: this test looks in the wrong place", place)
		}
	}
}
