package loop_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/watchdog"
)

// TestEvery has a step fail once, and kicks the loop between two intervals.
func TestEvery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var steps []time.Duration
		var log bytes.Buffer
		kicks := make(chan struct{}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		time.AfterFunc(15*time.Second, func() { kicks <- struct{}{} })
		err := loop.Every(ctx, slog.New(slog.NewTextHandler(&log, nil)), "count", 10*time.Second, kicks, func(context.Context) error {
			steps = append(steps, time.Since(began))
			if len(steps) == 2 {
				return errors.New("once")
			}
			return nil
		})
		if err != nil {
			t.Errorf("ended with %v", err)
		}
		want := []time.Duration{0, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second}
		if diff := cmp.Diff(want, steps); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=ERROR msg="could not count, trying again" error=once`) {
			t.Errorf("logged:\n%s", got)
		}
	})
}

// TestBoard has a step hang, and another take long while it gets on: the board says so of each after its time, and no
// more once the step has ended.
func TestBoard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const quiet, long = time.Minute, 15 * time.Minute
		board, hang := &watchdog.Board{}, make(chan struct{})
		ctx, cancel := context.WithCancel(watchdog.WithBoard(t.Context(), board))
		steps := map[string]func(context.Context){
			"sweep": func(context.Context) { <-hang },
			"count": func(context.Context) {},
			"close": func(ctx context.Context) {
				for {
					select {
					case <-hang:
						return
					case <-time.After(30 * time.Second):
						watchdog.Alive(ctx)
					}
				}
			},
		}
		var ended sync.WaitGroup
		for what, step := range steps {
			ended.Go(func() {
				_ = loop.Every(ctx, slog.New(slog.DiscardHandler), what, time.Second, nil, func(ctx context.Context) error { step(ctx); return nil })
			})
		}
		<-time.After(time.Minute)
		if err := board.Moving(quiet, long); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		<-time.After(time.Second)
		if err := board.Moving(quiet, long); err == nil || err.Error() != `the loop "sweep" waits for an answer for 1m1s` {
			t.Errorf("after more than a minute: %v", err)
		}
		<-time.After(14 * time.Minute)
		if err := board.Moving(quiet, long); err == nil || !strings.HasPrefix(err.Error(), `the loop "close" is at one step for 15m1s`) {
			t.Errorf("after more than a quarter of an hour: %v", err)
		}
		close(hang)
		synctest.Wait()
		if err := board.Moving(0, 0); err != nil {
			t.Errorf("once they go on: %v", err)
		}
		cancel()
		ended.Wait()
	})
}
