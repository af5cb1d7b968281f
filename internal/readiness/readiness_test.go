package readiness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/leak"
	"github.com/tributaryhq/tributary/internal/readiness"
)

func TestMain(m *testing.M) { leak.Main(m) }

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// board runs a board over checks in a bubble, and stops it at the end.
func board(t *testing.T, registry *prometheus.Registry, log io.Writer, checks ...readiness.Check) *readiness.Board {
	t.Helper()
	b, err := readiness.New(slog.New(slog.NewTextHandler(log, nil)), registry)
	if err != nil {
		t.Fatal(err)
	}
	if results := b.Results(); len(results) == 0 || results[0].Err == nil {
		t.Error("a board without checks is well")
	}
	b.Add(checks...)
	for _, r := range b.Results() {
		if r.Err == nil {
			t.Errorf("%s is well before it was checked", r.Name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return b
}

// pass lets time go by in the bubble, and all that happens in it.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		var log bytes.Buffer
		registry := prometheus.NewRegistry()
		b := board(t, registry, &log, readiness.Check{Name: "store", Ready: func(context.Context) error {
			if away.Load() {
				return errors.New("host db7 refuses ann")
			}
			return nil
		}})
		want := func(ready bool, gauge string) {
			t.Helper()
			pass(1100 * time.Millisecond)
			if got := b.Results()[0].Err == nil; got != ready {
				t.Errorf("ready is %t, want %t", got, ready)
			}
			const head = "# HELP tributary_ready 1 while the check of readiness is well, 0 while it is not.\n# TYPE tributary_ready gauge\n"
			if err := testutil.GatherAndCompare(registry, strings.NewReader(head+`tributary_ready{check="store"} `+gauge+"\n")); err != nil {
				t.Error(err)
			}
		}
		want(true, "1")
		away.Store(true)
		want(false, "0")
		pass(10 * time.Second)
		if got := strings.Count(log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d warnings of one outage:\n%s", got, &log)
		}
		away.Store(false)
		want(true, "1")
		for _, says := range []string{`msg="not ready" check=store error="host db7 refuses ann"`, `level=WARN msg="ready again" check=store`} {
			if !strings.Contains(log.String(), says) {
				t.Errorf("the log lacks %q:\n%s", says, &log)
			}
		}
	})
}

// TestAnotherReasonIsTold: the first that is met may be the end of connections, and not what ended them.
func TestAnotherReasonIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		var asked atomic.Int32
		board(t, prometheus.NewRegistry(), &log, readiness.Check{Name: "store", Ready: func(context.Context) error {
			switch n := asked.Add(1); {
			case n == 1:
				return nil
			case n == 2:
				return errors.New("the connection has ended")
			case n < 30:
				return errors.New("the disk is full")
			default:
				return fmt.Errorf("the disk is full for %d s", n)
			}
		}})
		pass(28 * time.Second)
		for reason, want := range map[string]int{"the connection has ended": 1, "the disk is full": 1} {
			if got := strings.Count(log.String(), reason); got != want {
				t.Errorf("%d lines say that %s, want %d:\n%s", got, reason, want, &log)
			}
		}
		pass(20 * time.Second)
		if got := strings.Count(log.String(), "is full for"); got > 2 {
			t.Errorf("%d lines tell of a reason that changes with each second:\n%s", got, &log)
		}
	})
}

// A check that is not well yet when a process starts is no news, unless it stays so.
func TestStartIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		var log journal
		fails := func(until time.Duration) func(context.Context) error {
			return func(context.Context) error {
				if time.Since(started) < until {
					return errors.New("it is empty yet")
				}
				return nil
			}
		}
		b := board(t, prometheus.NewRegistry(), &log,
			readiness.Check{Name: "soon", Ready: fails(3 * time.Second)}, readiness.Check{Name: "late", Ready: fails(20 * time.Second)})
		pass(3500 * time.Millisecond)
		if results := b.Results(); results[0].Err != nil || results[1].Err == nil || log.String() != "" {
			t.Errorf("after a healthy start: %v, and a log:\n%s", results, log.String())
		}
		pass(10 * time.Second)
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=WARN msg="not ready" check=late`) {
			t.Errorf("of a check that stays unwell:\n%s", got)
		}
		pass(10 * time.Second)
		if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `level=WARN msg="ready again" check=late after=20s`) {
			t.Errorf("once it is well:\n%s", got)
		}
	})
}

// A check that hangs or panics fails, and holds up no other.
func TestChecksAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int64
		var log bytes.Buffer
		b := board(t, prometheus.NewRegistry(), &log,
			readiness.Check{Name: "hangs", Ready: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			readiness.Check{Name: "panics", Ready: func(context.Context) error { panic("oh") }},
			readiness.Check{Name: "well", Ready: func(context.Context) error { rounds.Add(1); return nil }})
		pass(10 * time.Second)
		results := b.Results()
		if results[0].Err == nil || results[1].Err == nil || results[2].Err != nil || rounds.Load() < 3 {
			t.Errorf("after %d rounds: %v", rounds.Load(), results)
		}
	})
}

// A check that ignores its context is left behind: it holds up no other, is not called beside itself, and is well again
// once it returns.
func TestCheckIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck atomic.Bool
		var calls, rounds atomic.Int64
		var log bytes.Buffer
		release := make(chan struct{})
		b := board(t, prometheus.NewRegistry(), &log,
			readiness.Check{Name: "well", Ready: func(context.Context) error { rounds.Add(1); return nil }},
			readiness.Check{Name: "stuck", Ready: func(context.Context) error {
				if stuck.Load() {
					calls.Add(1)
					<-release
				}
				return nil
			}})
		pass(2 * time.Second)
		stuck.Store(true)
		pass(time.Minute)
		if results := b.Results(); results[0].Err != nil || results[1].Err == nil || calls.Load() != 1 || rounds.Load() < 50 {
			t.Errorf("after %d rounds and %d calls that hang: %v", rounds.Load(), calls.Load(), results)
		}
		close(release)
		pass(3 * time.Second)
		if results := b.Results(); results[1].Err != nil {
			t.Errorf("once it returned: %v", results)
		}
	})
}

// Results of a process that no longer checks are worth nothing.
func TestOldResultsAreNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := readiness.New(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		b.Add(readiness.Check{Name: "well", Ready: func(context.Context) error { return nil }})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		b.Run(ctx)
		if r := b.Results()[0]; r.Err != nil {
			t.Errorf("while it checks: %v", r.Err)
		}
		pass(time.Minute)
		if r := b.Results()[0]; r.Err == nil {
			t.Error("well, by a result that is a minute old")
		}
	})
}
