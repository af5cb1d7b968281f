package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
)

// options are the command line.
type options struct {
	rounds     int
	longRounds int
	sizes      []int
	peers      int
	small      int
	backlog    int
	durable    bool
	requests   int
	tokens     int
	memory     bool
	only       string
	webhooks   time.Duration
	cpuProfile string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if len(os.Args) > 1 && os.Args[1] == serviceArg {
		code := runService(ctx, os.Args[2:])
		stop()
		os.Exit(code)
	}
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	opts, err := parse(args)
	if err != nil {
		return err
	}
	platform.TuneGC(os.Getenv)
	s, err := startServers(ctx, opts.durable)
	if err != nil {
		return err
	}
	defer s.stop()
	if opts.cpuProfile != "" {
		file, err := os.Create(opts.cpuProfile)
		if err != nil {
			return fmt.Errorf("make the profile: %w", err)
		}
		defer func() { _ = file.Close() }()
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("start the profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	if opts.webhooks > 0 {
		return measureIngress(ctx, s, opts)
	}
	if opts.requests > 0 {
		about, load := s.describe(ctx), loadAverage()
		cases, err := measureOutbound(ctx, s, opts)
		if err != nil {
			return err
		}
		return writeOutbound(os.Stdout, about, load, opts, cases)
	}
	if opts.tokens > 0 {
		about, load := s.describe(ctx), loadAverage()
		measured, err := measureTokens(ctx, s, opts)
		if err != nil {
			return err
		}
		return writeTokens(os.Stdout, about, load, opts, measured)
	}
	t, err := connectTributary(ctx, s)
	if err != nil {
		return err
	}
	defer t.close()
	t.start(ctx)
	r := &report{opts: opts, about: s.describe(ctx), load: loadAverage()}
	if r.throughput, err = measureThroughput(ctx, s, t, opts); err != nil {
		return err
	}
	if opts.small > 0 {
		if r.latencies, err = measureLatency(ctx, t, opts); err != nil {
			return err
		}
	}
	if opts.memory {
		if r.memory, err = measureMemory(ctx, s, t, opts); err != nil {
			return err
		}
	}
	return r.write(os.Stdout)
}

func parse(args []string) (options, error) {
	opts := options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	sizes := flags.String("sizes", "10k,100k,1m", "items of a run, several")
	peers := flags.String("peers", "20k", "jobs for River; the broker alone and Postgres alone get five times as many")
	backlog := flags.String("backlog", "1m", "items of the run that small runs are measured beside")
	flags.IntVar(&opts.rounds, "rounds", 3, "rounds; the table has their medians")
	flags.IntVar(&opts.longRounds, "long-rounds", 0, "rounds for runs of more than 100k items; 0 for as many as the others")
	flags.IntVar(&opts.small, "small", 40, "small runs to measure latency with; 0 for none")
	flags.BoolVar(&opts.durable, "durable", false, "NATS and Postgres write to disk before they answer, as they should in production")
	flags.IntVar(&opts.requests, "requests", 0, "measure nothing but requests to upstreams, with so many in each case of a round; 0 for everything else")
	flags.IntVar(&opts.tokens, "tokens", 0, "measure nothing but refreshes of so many OAuth tokens that end together; 0 for everything else")
	flags.DurationVar(&opts.webhooks, "webhooks", 0, "measure nothing but the webhook ingress, for so long in each case of a round; 0 for everything else")
	flags.BoolVar(&opts.memory, "memory", true, "measure the memory of every service in a process of its own")
	flags.StringVar(&opts.only, "only", "", "measure only cases with this in their name, such as no-op")
	flags.StringVar(&opts.cpuProfile, "cpuprofile", "", "write a CPU profile of everything to this file")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	for _, text := range strings.Split(*sizes, ",") {
		size, err := parseSize(text)
		if err != nil {
			return opts, err
		}
		opts.sizes = append(opts.sizes, size)
	}
	slices.Sort(opts.sizes)
	if opts.longRounds == 0 {
		opts.longRounds = opts.rounds
	}
	var err error
	if opts.peers, err = parseSize(*peers); err != nil {
		return opts, err
	}
	opts.backlog, err = parseSize(*backlog)
	return opts, err
}

// parseSize reads numbers such as 500, 10k and 1m.
func parseSize(text string) (int, error) {
	digits := strings.ToLower(strings.TrimSpace(text))
	factor := 1
	if rest, ok := strings.CutSuffix(digits, "k"); ok {
		digits, factor = rest, 1_000
	} else if rest, ok := strings.CutSuffix(digits, "m"); ok {
		digits, factor = rest, 1_000_000
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number of items such as 500, 10k or 1m", text)
	}
	return n * factor, nil
}

func formatSize(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + " M"
	case n >= 1_000 && n%1_000 == 0:
		return strconv.Itoa(n/1_000) + " k"
	}
	return strconv.Itoa(n)
}
