package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tributaryhq/tributary/internal/telemetry"
)

func TestReadyz(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		checks []telemetry.Check
		code   int
		body   string
	}{
		{"all well", []telemetry.Check{{Name: "NATS", OK: true}, {Name: "Postgres", OK: true}}, http.StatusOK, "NATS: ok\nPostgres: ok\n"},
		{"one is not", []telemetry.Check{{Name: "NATS", OK: true}, {Name: "Postgres"}}, http.StatusServiceUnavailable, "NATS: ok\nPostgres: not ok\n"},
	} {
		handler := telemetry.Handler(telemetry.NewRegistry(), func() []telemetry.Check { return test.checks })
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
		if answer.Code != test.code || answer.Body.String() != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.name, answer.Code, answer.Body, test.code, test.body)
		}
	}
}
