package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/app"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// serviceArg as the first argument makes this program one of the services.
const serviceArg = "tributary"

// syncServices are those that a sync passes through.
func syncServices() []string {
	return []string{platform.SchedulerService, platform.SyncerService, platform.ItemWorkerService}
}

// runService is the program that a user of the product would write.
func runService(ctx context.Context, args []string) int {
	return app.Run(ctx, args, app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, app.Providers{providerKey: feed{}},
		app.OnRawItem(contracts.EventType(quick{}), func(context.Context, *contracts.Integration, json.RawMessage) error { return nil }))
}

// mostRuns is how many runs of a size a process gets at most.
const mostRuns = 100

// memory is what each service needed for runs of a size.
type memory struct {
	items int
	// peaks are resident bytes, by service.
	peaks map[string]int64
}

// measureMemory runs every service in a process of its own, new ones for each size.
func measureMemory(ctx context.Context, s *servers, t *tributary, opts options) ([]memory, error) {
	t.stop()
	var all []memory
	for _, items := range opts.sizes {
		m, err := measureServices(ctx, s, t, items, slices.Max(opts.sizes))
		if err != nil {
			return nil, fmt.Errorf("measure memory, %s items: %w", formatSize(items), err)
		}
		fmt.Fprintf(os.Stderr, "memory   %6s items\n", formatSize(items))
		all = append(all, m)
	}
	return all, nil
}

func measureServices(ctx context.Context, s *servers, t *tributary, items, most int) (m memory, err error) {
	m = memory{items: items, peaks: map[string]int64{}}
	processes := map[string]*exec.Cmd{}
	defer func() {
		for _, process := range processes {
			_ = process.Process.Signal(syscall.SIGTERM)
		}
		for name, process := range processes {
			if ended := process.Wait(); ended != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", name, ended))
			}
		}
	}()
	for _, name := range syncServices() {
		process := exec.CommandContext(ctx, "/proc/self/exe", serviceArg, name, "--http-addr=", "--log-level=warn")
		process.Env = append(os.Environ(), "DATABASE_URL="+s.postgres.URL(), "TRIBUTARY_NATS_URL="+s.nats.URL(), "TRIBUTARY_KEYS_FILE="+s.keys())
		process.Stderr = os.Stderr
		process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
		process.WaitDelay = time.Minute
		if err := process.Start(); err != nil {
			return m, fmt.Errorf("start the %s: %w", name, err)
		}
		processes[name] = process
	}
	// Processes that have handled as many items differ by the size of their runs alone.
	for range min(max(most/items, 1), mostRuns) {
		if _, err := t.measure(ctx, kindQuick, items); err != nil {
			return m, err
		}
	}
	for name, process := range processes {
		m.peaks[name] = peakMemory(fmt.Sprint(process.Process.Pid))
	}
	return m, nil
}

// memoryAims compares what each service needed for the largest run with what it needed for the one before.
func (r *report) memoryAims() []aim {
	if len(r.memory) < 2 {
		return nil
	}
	few, many := r.memory[len(r.memory)-2], r.memory[len(r.memory)-1]
	var aims []aim
	for _, name := range syncServices() {
		growth := float64(many.peaks[name]) / float64(few.peaks[name])
		aims = append(aims, aim{
			name:  fmt.Sprintf("%s: peak memory at %s / at %s", name, formatSize(many.items), formatSize(few.items)),
			value: growth, want: fmt.Sprintf("≤ %g", maxGrowth), verdict: verdict(growth <= maxGrowth),
		})
	}
	return aims
}

func (r *report) writeMemory(b *strings.Builder) {
	if len(r.memory) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| peak memory of each process, MB | %s |\n| --- |%s\n", strings.Join(syncServices(), " | "), strings.Repeat(" ---: |", len(syncServices())))
	for _, m := range r.memory {
		fmt.Fprintf(b, "| no-op handler, %s |", formatSize(m.items))
		for _, name := range syncServices() {
			fmt.Fprintf(b, " %d |", m.peaks[name]>>20)
		}
		b.WriteString("\n")
	}
}
