package e2e_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/pkg/app"
)

// roleVariable makes this test binary one of Tributary's processes instead: its arguments are the command line.
const roleVariable = "TRIBUTARY_E2E_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := app.Run(ctx, os.Args[1:], app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, feedProviders(), app.OnItem(handleEntry))
		stop()
		os.Exit(code)
	}
	os.Exit(pgtest.Main(m))
}
