package webhookingress_test

import (
	"maps"
	"net/http"
	"testing"
)

// Without an id of the upstream's, a delivery is the same as another when all is the same that says what it is about.
func TestCopiesWithoutAnID(t *testing.T) {
	f := newFixture(t)
	f.ready()
	for _, c := range []struct {
		name, path string
		header     http.Header
		want       string
	}{
		{"the first", "signed/one/webhook", nil, "queued"},
		{"its copy", "signed/one/webhook", nil, "duplicate"},
		{"its copy through another proxy", "signed/one/webhook", http.Header{"X-Request-Id": {"2"}, "X-Forwarded-For": {"192.0.2.1"}, "Date": {"now"}}, "duplicate"},
		{"a topic", "signed/one/webhook", http.Header{"X-Shop-Topic": {"orders/create"}}, "queued"},
		{"another topic", "signed/one/webhook", http.Header{"X-Shop-Topic": {"orders/delete"}}, "queued"},
		{"the copy of a topic", "signed/one/webhook", http.Header{"X-Shop-Topic": {"orders/create"}}, "duplicate"},
		{"the type that the provider reads", "signed/one/webhook", http.Header{"X-Says": {"opened"}}, "queued"},
		{"another type", "signed/one/webhook", http.Header{"X-Says": {"closed"}}, "queued"},
		{"the copy of a type", "signed/one/webhook", http.Header{"X-Says": {"opened"}}, "duplicate"},
		{"a query", "signed/one/webhook?a=1", nil, "queued"},
		{"the query as a path", "signed/%6fne/webhook?a=1", nil, "queued"},
	} {
		req := f.request(c.path, "", key, []byte(`{"same":true}`))
		maps.Copy(req.Header, c.header)
		if got := f.do(req); got.code != 200 || got.status != c.want {
			t.Errorf("%s: %d %q, want %q", c.name, got.code, got.status, c.want)
		}
	}
}
