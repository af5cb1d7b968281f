package app

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
)

// crashPoints reads "point" or "point#n" and returns a function that ends the process at the n-th time that this point is reached. Crash tests
// set it; empty means never.
func crashPoints(spec string, kill func()) func(string) {
	point, count, _ := strings.Cut(spec, "#")
	if point == "" {
		return nil
	}
	at := int64(1)
	if n, err := strconv.ParseInt(count, 10, 64); err == nil {
		at = n
	}
	var reached atomic.Int64
	return func(name string) {
		if name == point && reached.Add(1) == at {
			kill()
		}
	}
}

// killSelf is kill -9: nothing is flushed, nothing is said.
func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// tune shortens the clocks for tests that wait for recoveries: TRIBUTARY_TEST_TIMING is how long silence may last, such
// as 2s. TRIBUTARY_TEST_LEASE is for tests in which nothing dies: how long work in hand may be silent, when that is
// longer. TRIBUTARY_TEST_CLOCK puts the process's clock off by a duration.
func tune(config *platform.Config, getenv func(string) string) {
	if off, err := time.ParseDuration(getenv("TRIBUTARY_TEST_CLOCK")); err == nil {
		config.Machine = func() time.Time { return time.Now().Add(off) }
	}
	silence, err := time.ParseDuration(getenv("TRIBUTARY_TEST_TIMING"))
	if err != nil || silence <= 0 {
		return
	}
	config.Timing.AckWait, config.Timing.WorkerLease = silence, silence
	config.Scheduler.Tick, config.Scheduler.Sweep, config.Scheduler.Silent = silence/10, silence/2, 3*silence
	config.Control.Housekeeping.Sweep, config.Control.Housekeeping.DirectoryRetry = silence/2, silence/10
	config.Scheduler.EntriesGrace, config.LeaseMargin = 2*silence, silence
	if lease, err := time.ParseDuration(getenv("TRIBUTARY_TEST_LEASE")); err == nil && lease > silence {
		config.Timing.AckWait, config.Timing.WorkerLease, config.Scheduler.Silent, config.Scheduler.EntriesGrace = lease, lease, 3*lease, 2*lease
	}
	config.Circuit.Cooldown = 2 * silence
	for i := range config.Syncer.Backoff {
		config.Syncer.Backoff[i] = silence / 4
	}
	for i := range config.ItemWorker.Backoff {
		config.ItemWorker.Backoff[i] = silence / 4
	}
	config.TokenRefresher.Tick, config.TokenRefresher.Sweep, config.TokenRefresher.Backoff = silence/10, silence/2, silence/4
	config.TokenRefresher.Lease, config.TokenRefresher.Call = 10*silence, 5*silence
	for i := range config.ItemWorker.Webhooks.Backoff {
		config.ItemWorker.Webhooks.Backoff[i] = silence / 4
	}
	config.Syncer.Waits.Least, config.Syncer.Waits.LeastMost = silence/4, silence
	config.ItemWorker.Waits = config.Syncer.Waits
	config.ItemWorker.Webhooks.Poll = silence / 10
	config.ItemWorker.Park, config.ItemWorker.Progress = silence/2, silence/10
}
