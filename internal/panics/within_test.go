package panics_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
)

func TestWithin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		call := func(takes time.Duration, f func() (int, error)) (int, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return panics.Within(ctx, time.Second, "the provider", func() (int, error) {
				<-time.After(takes)
				return f()
			})
		}
		answer := func() (int, error) { return 7, nil }
		if got, err := call(0, answer); got != 7 || err != nil {
			t.Errorf("at once: %d, %v", got, err)
		}
		if got, err := call(time.Minute+time.Millisecond, answer); got != 7 || err != nil {
			t.Errorf("within the grace: %d, %v", got, err)
		}
		began := time.Now()
		got, err := call(time.Hour, answer)
		if got != 0 || !errors.Is(err, panics.ErrLeftBehind) || errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "the provider did not return") {
			t.Errorf("too late: %d, %v", got, err)
		}
		if waited := time.Since(began); waited != time.Minute+time.Second {
			t.Errorf("waited for %s", waited)
		}
		if _, err := call(0, func() (int, error) { panic("boom") }); err == nil || err.Error() != "the provider panicked: boom" {
			t.Errorf("a panic: %v", err)
		}
		began = time.Now()
		if _, err := panics.Compute("the rules", func() (int, error) { <-time.After(time.Hour); return 7, nil }); !errors.Is(err, panics.ErrLeftBehind) {
			t.Errorf("rules that do not return: %v", err)
		}
		if waited := time.Since(began); waited != 10*time.Second {
			t.Errorf("waited for rules for %s", waited)
		}
		if got, err := panics.Compute("the rules", answer); got != 7 || err != nil {
			t.Errorf("rules that return: %d, %v", got, err)
		}
		<-time.After(time.Hour) // the one that was left behind ends
	})
}
