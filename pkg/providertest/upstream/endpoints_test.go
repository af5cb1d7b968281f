package upstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// ExampleEndpoints loses the answer to a request that had its effect, and finds that a second one with the same key has none.
func ExampleEndpoints() {
	endpoints, faults := &upstream.Endpoints{IdempotencyHeader: "Idempotency-Key"}, upstream.NewFaults(1)
	server := httptest.NewServer(faults.Before(endpoints))
	defer server.Close()
	faults.Next(1, upstream.LoseAnswer())

	for range 2 {
		req := httptest.NewRequest(http.MethodPost, server.URL+"/effects", strings.NewReader("pay 5"))
		req.RequestURI = ""
		req.Header.Set("Idempotency-Key", "invoice-7")
		// A connection of its own: over one that was used before, the transport itself would repeat the request.
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			fmt.Println("no answer")
			continue
		}
		fmt.Println(res.Status, res.Header.Get("Idempotent-Replayed"))
		res.Body.Close()
	}
	fmt.Println(endpoints.Done())
	// Output:
	// no answer
	// 201 Created true
	// [pay 5]
}

// hostile serves endpoints with faults before them.
type hostile struct {
	*upstream.Endpoints
	*upstream.Faults
	*httptest.Server
	listener *upstream.Listener
	client   *http.Client
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{Endpoints: &upstream.Endpoints{IdempotencyHeader: "Idempotency-Key"}, Faults: upstream.NewFaults(1)}
	h.Server = httptest.NewUnstartedServer(h.Before(h.Endpoints))
	h.listener = &upstream.Listener{Listener: h.Listener}
	h.Listener = h.listener
	h.Start()
	t.Cleanup(h.Close)
	h.client = &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h
}

func (h *hostile) do(t *testing.T, method, path, body string, header ...string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := h.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: string(raw)}, err
}

func TestFaultsOnTheWire(t *testing.T) {
	t.Parallel()
	const whole = `{"title":"A document"}`
	for name, test := range map[string]struct {
		fault upstream.Fault
		// err is what the client fails with; without, it gets body.
		err  error
		text string
		body string
	}{
		"reset before the body is read":  {fault: upstream.ResetUnread(), err: syscall.ECONNRESET},
		"reset after the body is read":   {fault: upstream.ResetRead(), err: syscall.ECONNRESET},
		"reset instead of an answer":     {fault: upstream.LoseAnswer(), err: syscall.ECONNRESET},
		"no HTTP":                        {fault: upstream.Garbage(), text: "malformed HTTP"},
		"a body shorter than it is said": {fault: upstream.WrongLength(5), err: io.ErrUnexpectedEOF},
		"a body longer than it is said":  {fault: upstream.WrongLength(-5), body: whole[:len(whole)-5]},
		"a slow head":                    {fault: upstream.SlowHead(time.Microsecond), body: whole},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			h.Next(1, test.fault)
			a, err := h.do(t, http.MethodGet, "/document", "")
			switch {
			case test.err != nil || test.text != "":
				if err == nil || test.err != nil && !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("got %d %q and the error %v, want %v %s", a.status, a.body, err, test.err, test.text)
				}
			case err != nil || a.body != test.body:
				t.Errorf("got %q and %v, want %q", a.body, err, test.body)
			}
			if a, err := h.do(t, http.MethodGet, "/document", ""); err != nil || a.body != whole {
				t.Errorf("afterwards: %d %q, %v", a.status, a.body, err)
			}
		})
	}
}

// A fault that takes the connection still breaks it inside of one that wants the whole answer.
func TestWireFaultInsideOfAnother(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.Next(1, upstream.MalformedJSON())
	h.Next(1, upstream.ResetRead())
	if a, err := h.do(t, http.MethodGet, "/document", ""); err == nil {
		t.Errorf("answered %d %q", a.status, a.body)
	}
}

func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.listener.Refuse(2)
	for n, wantErr := range []bool{true, true, false} {
		if _, err := h.do(t, http.MethodPost, "/effects", fmt.Sprint(n)); (err != nil) != wantErr {
			t.Errorf("connection %d: %v", n+1, err)
		}
	}
	if diff := cmp.Diff([]string{"2"}, h.Done()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestDialects(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	now := time.Date(2025, time.May, 4, 12, 0, 0, 0, time.UTC)
	h.Now = func() time.Time { return now }
	for _, dialect := range upstream.Dialects() {
		budget := upstream.Budget{Limit: 100, Remaining: 7, Window: time.Minute, ResetIn: 30 * time.Second}
		h.Next(1, upstream.Limits(dialect, budget))
		h.Next(1, upstream.TooManyRequests(0))
		a, err := h.do(t, http.MethodGet, "/document", "")
		if err != nil || a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "" {
			t.Fatalf("%s: %d, %v, Retry-After %q", dialect.Name, a.status, err, a.header.Get("Retry-After"))
		}
		told := 0
		for name := range dialect.Headers(budget, now) {
			if a.header.Get(name) != "" {
				told++
			}
		}
		if told == 0 || told != len(dialect.Headers(budget, now)) {
			t.Errorf("%s: %d headers arrived of %v", dialect.Name, told, dialect.Headers(budget, now))
		}
		h.Calm()
	}
	h.Next(1, upstream.TooManyRequestsUntil(now.Add(time.Hour)))
	h.Next(1, upstream.ServerError(http.StatusServiceUnavailable))
	if a, _ := h.do(t, http.MethodGet, "/document", ""); a.header.Get("Retry-After") != "Sun, 04 May 2025 13:00:00 GMT" {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	h.Calm()
	h.Next(1, upstream.Header("Retry-After", "3"))
	h.Next(1, upstream.ServerError(http.StatusServiceUnavailable))
	if a, _ := h.do(t, http.MethodGet, "/document", ""); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "3" {
		t.Errorf("%d with Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	steps := []struct {
		key, body string
		status    int
		replayed  string
	}{
		{"a", "one", 201, ""},
		{"a", "one", 201, "true"},
		{"a", "two", 422, ""},
		{"b", "one", 201, ""},
		{"", "free", 201, ""},
		{"", "free", 201, ""},
	}
	for _, s := range steps {
		a, err := h.do(t, http.MethodPost, "/effects", s.body, "Idempotency-Key", s.key)
		if err != nil || a.status != s.status || a.header.Get("Idempotent-Replayed") != s.replayed {
			t.Errorf("%+v: %d %s, %v", s, a.status, a.body, err)
		}
	}
	if diff := cmp.Diff([]string{"one", "one", "free", "free"}, h.Done()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
	h.IdempotencyHeader = ""
	for range 2 {
		if _, err := h.do(t, http.MethodPost, "/effects", "again", "Idempotency-Key", "c"); err != nil {
			t.Error(err)
		}
	}
	if got := h.Done(); len(got) != 6 || got[5] != "again" {
		t.Errorf("without dedupe: %v", got)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	first, err := h.do(t, http.MethodGet, "/document", "")
	if err != nil || first.header.Get("ETag") == "" {
		t.Fatalf("%d %v, %v", first.status, first.header, err)
	}
	validators := map[string]string{"If-None-Match": first.header.Get("ETag"), "If-Modified-Since": first.header.Get("Last-Modified")}
	for name, value := range validators {
		if a, err := h.do(t, http.MethodGet, "/document", "", name, value); err != nil || a.status != http.StatusNotModified {
			t.Errorf("%s: %d, %v", name, a.status, err)
		}
	}
	if _, err := h.do(t, http.MethodPut, "/document", `{"title":"Changed"}`); err != nil {
		t.Fatal(err)
	}
	for name, value := range validators {
		if a, err := h.do(t, http.MethodGet, "/document", "", name, value); err != nil || a.body != `{"title":"Changed"}` {
			t.Errorf("%s after a change: %d %s, %v", name, a.status, a.body, err)
		}
	}
}

func TestOtherEndpoints(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a, err := h.do(t, http.MethodPost, "/echo?token=s3cret", "password=s3cret", "Authorization", "Bearer s3cret")
	if err != nil || strings.Count(a.body, "s3cret") != 3 || a.header.Get("Echo-Authorization") != "Bearer s3cret" {
		t.Errorf("echo: %d %s, %v", a.status, a.body, err)
	}
	if a, err := h.do(t, http.MethodGet, "/json/1000000", ""); err != nil || len(a.body) < 1_000_000 || !json.Valid([]byte(a.body)) {
		t.Errorf("json: %d bytes, %v", len(a.body), err)
	}
	if a, err := h.do(t, http.MethodGet, "/binary/1001", ""); err != nil || len(a.body) != 1001 || json.Valid([]byte(a.body)) {
		t.Errorf("binary: %d bytes, %v", len(a.body), err)
	}
	if a, err := h.do(t, http.MethodPost, "/to?http://169.254.169.254/latest", ""); err != nil || a.status != 307 || a.header.Get("Location") != "http://169.254.169.254/latest" {
		t.Errorf("to: %d %v, %v", a.status, a.header, err)
	}
	if a, err := h.do(t, http.MethodGet, "/nowhere", ""); err != nil || a.status != 404 {
		t.Errorf("nowhere: %d, %v", a.status, err)
	}
}
