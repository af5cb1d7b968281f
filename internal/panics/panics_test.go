package panics_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/panics"
)

func TestTry(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	for _, tt := range []struct {
		name, want string
		f          func() error
		stack      bool
	}{
		{name: "nothing", f: func() error { return nil }, want: "<nil>"},
		{name: "an error", f: func() error { return plain }, want: "plain"},
		{name: "a panic", f: func() error { panic("boom") }, want: "the provider panicked: boom", stack: true},
		{name: "a secret", f: func() error { panic("GET https://a.example/?token=s3cr3t") }, want: "the provider panicked: GET https://a", stack: true},
		{name: "an index", f: func() error { return []error{}[len(t.Name())] }, want: "the provider panicked: runtime error: index out of range", stack: true},
	} {
		err := panics.Try("the provider", tt.f)
		if !strings.HasPrefix(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		var log bytes.Buffer
		wrapped := fmt.Errorf("wrapped: %w", err)
		panics.Report(slog.New(slog.NewTextHandler(&log, nil)), wrapped, "run", "r")
		if got := strings.Contains(log.String(), "run=r stack="); got != tt.stack {
			t.Errorf("%s: logged as %s", tt.name, log.String())
		}
		if strings.Contains(log.String(), "s3cr3t") {
			t.Errorf("%s: the log shows a secret: %s", tt.name, log.String())
		}
		if tt.stack && !strings.Contains(log.String(), "panics_test.go") {
			t.Errorf("%s: the log does not say where: %s", tt.name, log.String())
		}
	}
}
