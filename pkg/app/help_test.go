package app_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/app"
)

// said is what a command prints that needs no server.
func said(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	streams := app.Streams{In: strings.NewReader(""), Out: &out, Err: &out}
	if code := app.Run(t.Context(), args, streams, app.Providers{}); code != cli.ExitOK {
		t.Fatalf("%v: exit code %d: %s", args, code, &out)
	}
	return out.String()
}

// The help of a command is about the command; the settings are listed once, and by commands that take nothing else.
func TestHelpIsOfTheCommand(t *testing.T) {
	t.Parallel()
	own := said(t, "sync", "--help")
	for _, part := range []string{"--full", "--follow", "--help", "tributary --help"} {
		if !strings.Contains(own, part) {
			t.Errorf("the help of sync lacks %s:\n%s", part, own)
		}
	}
	if lines := strings.Count(own, "\n"); lines > 25 || strings.Contains(own, "--otlp-endpoint") {
		t.Errorf("the help of sync has %d lines:\n%s", lines, own)
	}
	for _, args := range [][]string{{"--help"}, {"scheduler", "--help"}} {
		if all := said(t, args...); !strings.Contains(all, "--otlp-endpoint") {
			t.Errorf("%v does not list the settings:\n%s", args, all)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := said(t, "version"); !strings.Contains(got, "github.com/tributaryhq/tributary ") || !strings.Contains(got, "\ngo 1.") {
		t.Errorf("got %q", got)
	}
}
