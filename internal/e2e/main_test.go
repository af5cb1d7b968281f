package e2e_test

import (
	"context"
	options "flag"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	natsserver "github.com/tributaryhq/tributary/internal/embedded/nats"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/pkg/app"
)

// roleVariable makes this test binary one of Tributary's processes instead: its arguments are the command line.
const roleVariable = "TRIBUTARY_E2E_PROCESS"

// natsRole makes it a nats-server, for tests that kill one.
const natsRole = "nats"

// runNATS runs a server in a folder, on a port. In a cluster its name, its port for the others, and the ports of all follow.
func runNATS(dir, port string, cluster ...string) int {
	numbers := []int{}
	for i, text := range append([]string{port}, cluster...) {
		if i == 1 {
			continue
		}
		number, err := strconv.Atoi(text)
		if err != nil {
			return 2
		}
		numbers = append(numbers, number)
	}
	opts := natsserver.Options{Dir: dir, Port: numbers[0]}
	if len(cluster) > 0 {
		opts.Cluster = &natsserver.Cluster{Name: cluster[0], Port: numbers[1], Routes: numbers[2:]}
	}
	server, err := natsserver.Start(opts)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error())
		return 1
	}
	defer server.Stop()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return 0
}

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
	case natsRole:
		os.Exit(runNATS(os.Args[1], os.Args[2], os.Args[3:]...))
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := app.Run(ctx, os.Args[1:], app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, feedProviders(), app.OnItem(handleEntry))
		stop()
		os.Exit(code)
	}
	overlap()
	os.Exit(pgtest.Main(m))
}

// overlap has more tests run at a time than there are processors, unless the command line says how many: most of their time they wait for what others do.
func overlap() {
	options.Parse()
	given := false
	options.Visit(func(f *options.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = options.Set("test.parallel", strconv.Itoa(min(2*runtime.GOMAXPROCS(0), 12)))
	}
}
