package telemetry_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/telemetry"
)

// broken is an error that can't say what it is.
type broken struct{ text string }

func (b *broken) Error() string { return b.text }

// TestLogLines logs foreign text in every place of a line: what is written is clean, and no text is longer than some kilobytes.
func TestLogLines(t *testing.T) {
	t.Parallel()
	const bad = "a\x00b\xe8\u009b31m\x1b[2J"
	long := bad + strings.Repeat("x", 3<<20)
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, format, "debug")
		if err != nil {
			t.Fatal(err)
		}
		log.With("with", long).WithGroup("group").Info(long, "text", long, "error", errors.New(long), slog.Group("inner", "any", []string{long}), "map", map[string]string{"a": bad})
		if line := out.String(); len(line) > 100<<10 || !utf8.ValidString(line) || strings.ContainsAny(line, "\x00\x1b\u009b") || strings.Count(line, "cut, 3145") != 5 {
			t.Errorf("%s: a line of %d bytes has %d texts that are cut: %.500q", format, len(line), strings.Count(line, "cut, 3145"), line)
		}
		if line := out.String(); strings.Contains(line, `x00`) || strings.Contains(line, `u0000`) || strings.Contains(line, `u001b`) {
			t.Errorf("%s: a control character is written as an escape: %.500q", format, line)
		}

		out.Reset()
		log.Info("well", "n", 7, "list", []string{"a"}, "none", nil, "broken", (*broken)(nil), "error", errors.New("no"))
		line := out.String()
		for _, part := range []string{"well", "7", "a", "nil", "no"} {
			if !strings.Contains(line, part) {
				t.Errorf("%s: %q is not in %s", format, part, line)
			}
		}

		out.Reset()
		panics.Report(log, panics.Try("the handler", func() error { return deep(1000) }))
		if line := out.String(); len(line) > 20<<10 || !strings.Contains(line, "log_test.go") {
			t.Errorf("%s: a panic is a line of %d bytes: %.500q", format, len(line), line)
		}
	}
}

// TestLogLinesHoldNoSecrets logs the texts of errors that quote credentials.
func TestLogLinesHoldNoSecrets(t *testing.T) {
	t.Parallel()
	const bad = "Get \"https://u:hunter2x1@api.example/?access_token=hunter2x2\": 401: Authorization: Bearer hunter2x3"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, format, "debug")
		if err != nil {
			t.Fatal(err)
		}
		log.With("with", bad).Info(bad, "text", bad, "error", errors.New(bad), "any", []string{bad}, slog.Group("group", "error", fmt.Errorf("in: %w", errors.New(bad))))
		if line := out.String(); strings.Contains(line, "hunter2") || strings.Count(line, "api.example") != 6 {
			t.Errorf("%s: %s", format, line)
		}
	}
}

// deep panics below that many calls.
func deep(n int) error {
	if n > 0 {
		return deep(n - 1)
	}
	panic("deep")
}
