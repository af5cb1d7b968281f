package panics

import (
	"context"
	"fmt"
	"time"
)

// Within calls foreign code that may panic, or go on though its time is up: some time after the end of ctx it is left behind, and the error says so.
// What it returns then is lost, and what it was given may still be read.
func Within[T any](ctx context.Context, grace time.Duration, what string, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	returned := make(chan outcome, 1)
	go func() {
		var o outcome
		o.err = Try(what, func() (err error) {
			o.value, err = f()
			return err
		})
		returned <- o
	}()
	select {
	case o := <-returned:
		return o.value, o.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case o := <-returned:
		return o.value, o.err
	case <-timer.C:
		var none T
		return none, fmt.Errorf("%s did not return: %w", what, ctx.Err())
	}
}
