// Package loop is what services do again and again beside consuming messages.
package loop

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/watchdog"
)

// Every does a step at once, then at every interval and whenever it is kicked, until ctx ends; then it returns nil. A step that fails or panics is logged, as a warning while
// the database is away, and tried again at the next. what completes "could not …". kicks may be nil.
func Every(ctx context.Context, log *slog.Logger, what string, interval time.Duration, kicks <-chan struct{}, step func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := watchdog.Step(ctx, what, func(ctx context.Context) error { return panics.Try("the step", func() error { return step(ctx) }) })
		if err != nil && ctx.Err() == nil {
			panics.Report(log, err)
			level := slog.LevelError
			if postgres.Unavailable(err) || errors.Is(err, context.DeadlineExceeded) {
				level = slog.LevelWarn
			}
			log.Log(ctx, level, "could not "+what+", trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-kicks:
		}
	}
}

// Kick wakes a loop whose kicks are c, which has room for one. A kick that is pending already serves.
func Kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Pause waits, and reports whether ctx goes on.
func Pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
