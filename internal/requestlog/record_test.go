package requestlog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// declaring is a provider that declares what is secret.
type declaring struct {
	contracts.Provider
	request, response []string
}

func (d declaring) SensitiveRequestFields() []string  { return d.request }
func (d declaring) SensitiveResponseFields() []string { return d.response }

// rowsInMemory is a store that fails while it has an error.
type rowsInMemory struct {
	mu   sync.Mutex
	rows []requestlog.Row
	fail func(rows []requestlog.Row) error
}

func (s *rowsInMemory) InsertRequests(_ context.Context, rows []requestlog.Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(rows); err != nil {
			return err
		}
	}
	s.rows = append(s.rows, rows...)
	return nil
}

func (s *rowsInMemory) failWith(fail func(rows []requestlog.Row) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// logged is a chain with a request log in memory.
type logged struct {
	store  *rowsInMemory
	log    *requestlog.Log
	output bytes.Buffer
	chain  http.RoundTripper
	stop   func()
}

func newLogged(t *testing.T, settings requestlog.Settings, provider contracts.Provider, base http.RoundTripper) *logged {
	t.Helper()
	metrics, err := requestlog.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l := &logged{store: &rowsInMemory{}}
	l.log = requestlog.New(l.store, settings, metrics, slog.New(slog.NewTextHandler(&l.output, nil)))
	in := contracts.NewIntegration(contracts.IntegrationFields{ID: "i", Provider: "p", Name: "n", Credentials: json.RawMessage(`{"token":"credential-value"}`)})
	l.chain = outbound.Config{Base: base, Requests: l.log}.Chain(outbound.Target{Provider: provider, Integration: func() *contracts.Integration { return in }})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.log.Run(ctx) })
	l.stop = func() { cancel(); running.Wait() }
	t.Cleanup(l.stop)
	return l
}

// taken is how many rows are still to be written.
func (l *logged) taken() int { _, slots := l.log.Held(); return slots }

// written stops the log and returns its rows.
func (l *logged) written() []requestlog.Row { l.stop(); return l.store.rows }

func (l *logged) send(t *testing.T, req *http.Request) string {
	t.Helper()
	res, err := l.chain.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	_ = res.Body.Close()
	return string(body)
}

func (l *logged) get(t *testing.T, address string) string {
	t.Helper()
	return l.send(t, request(t, http.MethodGet, address, nil))
}

func request(t *testing.T, method, address string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// trip is a base that answers by a function.
type trip func(*http.Request) (*http.Response, error)

func (t trip) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	l := newLogged(t, requestlog.DefaultSettings(), declaring{request: []string{"card"}, response: []string{"pin"}}, trip(func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		res := answer(http.StatusCreated, `{"pin":1234,"id":7}`)
		res.Header = http.Header{"X-Request-Id": {"up-1"}, "Set-Cookie": {"s=1"}, "Content-Type": {"application/json"}}
		return res, nil
	}))
	run := uuid.NewString()
	ctx, err := contracts.WithIdempotencyKey(requestlog.WithOrigin(t.Context(), requestlog.Origin{Run: run, Item: "i/1"}), "order 7")
	if err != nil {
		t.Fatal(err)
	}
	req := request(t, http.MethodPost, "https://api.example.com/v1/orders?api_key=k&page=2", strings.NewReader(`{"card":"4242","note":"credential-value"}`)).WithContext(ctx)
	req.Header.Set("X-Token", "x")
	if got := l.send(t, req); got != `{"pin":1234,"id":7}` {
		t.Errorf("the caller gets %q", got)
	}
	want := []requestlog.Row{{
		Integration: "i", Provider: "p", Origin: requestlog.Origin{Run: run, Item: "i/1"}, Attempt: 1, IdempotencyKey: "order 7", Method: "POST", Host: "api.example.com", Path: "/v1/orders",
		Query: "api_key=[REDACTED]&page=2", Status: 201, UpstreamID: "up-1", RequestHeader: `{"X-Token":["[REDACTED]"]}`,
		ResponseHeader: `{"Content-Type":["application/json"],"Set-Cookie":["[REDACTED]"],"X-Request-Id":["up-1"]}`,
		RequestBody:    `{"card":"[REDACTED]","note":"[REDACTED]"}`, ResponseBody: `{"pin":"[REDACTED]","id":7}`, RequestBytes: 41, ResponseBytes: 19,
	}}
	got := l.written()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(requestlog.Row{}, "ID", "First", "At", "Duration")); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if got[0].ID != got[0].First || got[0].ID.Version() != 7 || got[0].At.IsZero() {
		t.Errorf("the row is %s at %s, first %s", got[0].ID, got[0].At, got[0].First)
	}
	if bytes, slots := l.log.Held(); bytes != 0 || slots != 0 {
		t.Errorf("%d bytes and %d slots are still taken", bytes, slots)
	}
}

func TestRecordBodies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", requestlog.RecordedBytes)
	noise := strings.Repeat("\xff\x00", requestlog.RecordedBytes)
	for _, test := range []struct {
		name, body, want string
		cut              bool
		settings         func(*requestlog.Settings)
	}{
		{name: "text", body: "hello", want: "hello"},
		{name: "no body"},
		{name: "cut at a character", body: long, want: strings.Repeat("é", (requestlog.RecordedBytes-15)/2), cut: true},
		{name: "binary", body: "\xff\xfe", want: "[BINARY 2 bytes sha256="},
		{name: "long binary", body: noise, want: "[BINARY 131060 bytes sha256="},
		{name: "a zero byte", body: "a\x00b", want: "[BINARY 3 bytes sha256="},
		{name: "larger than wanted", body: "0123456789", want: "[10 bytes]", settings: func(s *requestlog.Settings) { s.MaxResponseBytes = 9 }},
		{name: "as large as wanted", body: "012345678", want: "012345678", settings: func(s *requestlog.Settings) { s.MaxResponseBytes = 9 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			settings := requestlog.DefaultSettings()
			if test.settings != nil {
				test.settings(&settings)
			}
			l := newLogged(t, settings, plainProvider{}, trip(func(*http.Request) (*http.Response, error) { return answer(http.StatusOK, test.body), nil }))
			if got := l.get(t, "https://x/"); got != test.body {
				t.Errorf("the caller gets %d bytes of %d", len(got), len(test.body))
			}
			row := l.written()[0]
			want := test.want
			if strings.HasPrefix(want, "[BINARY") {
				want += sha(test.body) + "]"
			}
			if test.cut {
				// The end that might be the beginning of a credential is left out.
				if !strings.HasPrefix(test.body, row.ResponseBody.String()) || len(row.ResponseBody) < requestlog.RecordedBytes-200 || len(row.ResponseBody) > requestlog.RecordedBytes {
					t.Errorf("%d bytes are kept", len(row.ResponseBody))
				}
			} else if row.ResponseBody.String() != want {
				t.Errorf("%q is kept, want %q", row.ResponseBody, want)
			}
			if row.ResponseCut != test.cut || row.ResponseBytes != int64(len(test.body)) {
				t.Errorf("cut %v, %d bytes", row.ResponseCut, row.ResponseBytes)
			}
		})
	}
}

// plainProvider is a provider with nothing to say.
type plainProvider struct{ contracts.Provider }

// dull is a provider with answers that nobody wants in the log.
type dull struct{ contracts.Provider }

func (dull) UnloggedResponseEndpoints() []string {
	return []string{"/files/*/content", "post:/export/[a]*"}
}

func TestUnloggedEndpoints(t *testing.T) {
	t.Parallel()
	all := requestlog.UnloggedOf(dull{})
	for _, test := range []struct {
		method, path string
		want         bool
	}{
		{"GET", "/files/7/content", true},
		{"", "/files/7/content", true},
		{"GET", "/files/7/8/content", false},
		{"GET", "/files/7/content/x", false},
		{"POST", "/export/[a]bc", true},
		{"POST", "/export/abc", false},
		{"GET", "/export/[a]bc", false},
	} {
		if got := all.Match(test.method, test.path); got != test.want {
			t.Errorf("%s %s: %v", test.method, test.path, got)
		}
	}
	l := newLogged(t, requestlog.DefaultSettings(), dull{}, trip(func(*http.Request) (*http.Response, error) { return answer(http.StatusOK, "content"), nil }))
	l.get(t, "https://x/files/1/content")
	if row := l.written()[0]; row.ResponseBody != "[7 bytes]" {
		t.Errorf("%q is kept", row.ResponseBody)
	}
}

// A GET is tried again; its attempts are linked, and what is judged of their bodies is kept although nobody reads them.
func TestRecordAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		times := 0
		l := newLogged(t, requestlog.DefaultSettings(), plainProvider{}, trip(func(req *http.Request) (*http.Response, error) {
			switch times++; times {
			case 1:
				res := answer(http.StatusServiceUnavailable, "busy")
				res.Request = req
				return res, nil
			case 2:
				return nil, errors.New("cut https://x/?token=4242")
			}
			return answer(http.StatusOK, "fine"), nil
		}))
		if got := l.get(t, "https://x/"); got != "fine" {
			t.Errorf("the caller gets %q", got)
		}
		rows := l.written()
		type seen struct {
			Attempt, Status int
			Class           contracts.FailureClass
			Error, Body     string
			IsFirst         bool
		}
		var got []seen
		for _, row := range rows {
			got = append(got, seen{row.Attempt, row.Status, row.Class, row.Error.String(), row.ResponseBody.String(), row.First == rows[0].ID})
		}
		want := []seen{
			{1, 503, contracts.FailureUpstream, "GET /: 503 Service Unavailable", "busy", true},
			{2, 0, contracts.FailureUpstream, "cut https://x/?token=[REDACTED]", "", true},
			{3, 200, "", "", "fine", true},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestForgottenBody(t *testing.T) {
	t.Parallel()
	l := newLogged(t, requestlog.DefaultSettings(), plainProvider{}, trip(func(*http.Request) (*http.Response, error) { return answer(http.StatusOK, "unread"), nil }))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := l.chain.RoundTrip(request(t, http.MethodGet, "https://x/", nil).WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if rows := l.written(); len(rows) != 1 {
		t.Errorf("%d rows, want one", len(rows))
	}
}

func TestPanicBelow(t *testing.T) {
	t.Parallel()
	l := newLogged(t, requestlog.DefaultSettings(), plainProvider{}, trip(func(*http.Request) (*http.Response, error) { panic("oops") }))
	func() {
		defer func() { _ = recover() }()
		l.get(t, "https://x/")
	}()
	if rows := l.written(); len(rows) != 1 || rows[0].Class != contracts.FailureUnknown || l.taken() != 0 {
		t.Errorf("the rows are %+v, %d slots are taken", rows, l.taken())
	}
}

// A deferral from below is no attempt.
func TestRefusalIsNoRow(t *testing.T) {
	t.Parallel()
	l := newLogged(t, requestlog.DefaultSettings(), plainProvider{}, trip(func(*http.Request) (*http.Response, error) { return nil, contracts.RetryAfter(time.Minute, nil) }))
	l.get(t, "https://x/")
	if rows := l.written(); len(rows) != 0 || l.taken() != 0 {
		t.Errorf("the rows are %+v, %d slots are taken", rows, l.taken())
	}
}

// Real sockets: a body that the transport sends twice is recorded once.
func TestRecordOverSockets(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	l := newLogged(t, requestlog.DefaultSettings(), plainProvider{}, http.DefaultTransport)
	if got := l.send(t, request(t, http.MethodPost, server.URL+"/echo", strings.NewReader("hello"))); got != "hello" {
		t.Errorf("the caller gets %q", got)
	}
	row := l.written()[0]
	if row.RequestBody != "hello" || row.ResponseBody != "hello" || row.Status != 200 || row.Duration <= 0 {
		t.Errorf("the row is %+v", row)
	}
}

// An answer whose body breaks off is no clean success in the log.
func TestRecordBrokenAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("the beginning"))
	}))
	t.Cleanup(server.Close)
	l := newLogged(t, requestlog.DefaultSettings(), plainProvider{}, http.DefaultTransport)
	res, err := l.chain.RoundTrip(request(t, http.MethodGet, server.URL, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the caller gets %v", err)
	}
	_ = res.Body.Close()
	row := l.written()[0]
	if row.Status != http.StatusOK || row.Class != contracts.FailureUpstream || row.Error != "the answer broke off: unexpected EOF" {
		t.Errorf("the row has status %d, class %q and error %q", row.Status, row.Class, row.Error)
	}
	if !row.ResponseCut || row.ResponseBody != "the beginning" {
		t.Errorf("the body is %q, cut %v", row.ResponseBody, row.ResponseCut)
	}
}

func sha(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}

// An upstream that echoes what it was sent does so where nobody has declared a secret.
func TestRecordEcho(t *testing.T) {
	t.Parallel()
	l := newLogged(t, requestlog.DefaultSettings(), declaring{request: []string{"card"}}, trip(func(req *http.Request) (*http.Response, error) {
		sent, _ := io.ReadAll(req.Body)
		echo, _ := json.Marshal(map[string]string{"of": string(sent), "query": req.URL.RawQuery, "key": req.Header.Get("X-Api-Key")})
		res := answer(http.StatusUnprocessableEntity, string(echo))
		res.Header = http.Header{"X-Echo": {req.URL.Query().Get("sig")}}
		return res, nil
	}))
	req := request(t, http.MethodPost, "https://x/?sig=secret+in+query", strings.NewReader(`{"card":{"number":"secret in body","cvc":123},"note":"visible"}`))
	req.Header.Set("X-Api-Key", "Key secret-in-header")
	l.send(t, req)
	row := l.written()[0]
	if text := row.ResponseBody.String() + row.ResponseHeader + row.Error.String(); strings.Contains(text, "secret") || !strings.Contains(text, "visible") {
		t.Errorf("the row shows %s", text)
	}
}
