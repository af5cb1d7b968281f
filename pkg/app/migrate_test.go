package app_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/app"
)

// migrate waits for Postgres for a time only, and says so.
func TestMigrateWaitsForATime(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	streams := app.Streams{In: strings.NewReader(""), Out: &said, Err: &said}
	args := []string{"migrate", "--wait=100ms", "--database-url=postgres://u@127.0.0.1:1/none", "--data-dir=" + t.TempDir()}
	code := app.Run(t.Context(), args, streams, app.Providers{})
	if code != cli.ExitFailed || !strings.Contains(said.String(), "no answer from Postgres within 100ms") {
		t.Errorf("exit code %d: %s", code, &said)
	}
}
