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

// hollow is an author's error type; a nil pointer to it panics when it is looked at.
type hollow struct{ cause error }

func (h *hollow) Error() string { return h.cause.Error() }
func (h *hollow) Unwrap() error { return h.cause }

// picky panics when it is compared.
type picky struct{}

func (picky) Error() string   { return "picky" }
func (picky) Is(error) bool   { panic("not with me") }
func (picky) Unwrap() []error { return nil }

// TestErrorsThatPanic are replaced where they are returned: nobody who looks at them later panics.
func TestErrorsThatPanic(t *testing.T) {
	t.Parallel()
	ring := &hollow{}
	ring.cause = ring
	var nothing *hollow
	plain := errors.New("broken")
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"none":              {nil, ""},
		"a good one":        {fmt.Errorf("it is %w", plain), "it is broken"},
		"several":           {errors.Join(plain, &hollow{plain}), "broken\nbroken"},
		"a nil pointer":     {nothing, "the error of the handler panicked: runtime error: invalid memory address or nil pointer dereference"},
		"one within":        {fmt.Errorf("%w", error(&hollow{nothing})), "the error of the handler panicked: runtime error: invalid memory address or nil pointer dereference"},
		"one among others":  {errors.Join(plain, nothing), "the error of the handler panicked: runtime error: invalid memory address or nil pointer dereference"},
		"a picky one":       {picky{}, "the error of the handler panicked: not with me"},
		"one within itself": {ring, "the handler returned an error that wraps itself, or more than 1000 others"},
	} {
		err := panics.Try("the handler", func() error { return test.err })
		if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		if _, err := panics.Within(t.Context(), 0, "the handler", func() (int, error) { return 0, test.err }); fmt.Sprint(err) != fmt.Sprint(panics.Try("the handler", func() error { return test.err })) {
			t.Errorf("%s, within a time: %v", name, err)
		}
	}
	if err := panics.Try("the handler", func() error { return fmt.Errorf("it is %w", plain) }); !errors.Is(err, plain) {
		t.Errorf("a good error is not the same any more: %v", err)
	}
}
