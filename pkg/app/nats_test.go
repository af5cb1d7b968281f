package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/cli"
	embeddednats "github.com/tributaryhq/tributary/internal/embedded/nats"
	"github.com/tributaryhq/tributary/pkg/app"
)

// A command acts on the NATS that it is told, or on that of the dev process in its data folder, and never on another
// one that happens to listen.
func TestCommandsUseNoOtherNATS(t *testing.T) {
	t.Setenv("TRIBUTARY_NATS_URL", "")
	server, err := embeddednats.Start(embeddednats.Options{Dir: t.TempDir(), Port: embeddednats.RandomPort})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	const noNATS, reached = "set the URL, such as nats://", "no scheduler answers on "
	for name, test := range map[string]struct{ note, flag, says string }{
		"nothing is known":                   {says: noNATS},
		"a dev runs here":                    {note: server.URL() + " " + server.ID(), says: reached},
		"a dev was killed, another one runs": {note: server.URL() + " NANOTHERSERVER", says: noNATS},
		"a dev was killed":                   {note: "nats://127.0.0.1:1 " + server.ID(), says: noNATS},
		"a note without an id":               {note: server.URL(), says: noNATS},
		"it is told which":                   {flag: "--nats-url=" + server.URL(), says: reached},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if test.note != "" {
				if err := os.WriteFile(filepath.Join(folder, "nats.url"), []byte(test.note+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"runs", "list", "--data-dir=" + folder}
			if test.flag != "" {
				args = append(args, test.flag)
			}
			var said bytes.Buffer
			streams := app.Streams{In: strings.NewReader(""), Out: &said, Err: &said}
			code := app.Run(t.Context(), args, streams, app.Providers{})
			if code != cli.ExitUnavailable || !strings.Contains(said.String(), test.says) {
				t.Errorf("exit code %d, want %d and %q: %s", code, cli.ExitUnavailable, test.says, &said)
			}
		})
	}
}

// A service waits for a server that is not there yet, and does not if there is none to wait for.
func TestServiceWithoutNATS(t *testing.T) {
	t.Setenv("TRIBUTARY_NATS_URL", "")
	var said bytes.Buffer
	streams := app.Streams{In: strings.NewReader(""), Out: &said, Err: &said}
	code := app.Run(t.Context(), []string{"webhook-ingress", "--data-dir=" + t.TempDir()}, streams, app.Providers{})
	if code != cli.ExitFailed || !strings.Contains(said.String(), "TRIBUTARY_NATS_URL") {
		t.Errorf("exit code %d: %s", code, &said)
	}
}
