package panics

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrLeftBehind is in the error of code that did not return in its time. It is no error of a context, which would look
// like a store that is away.
var ErrLeftBehind = errors.New("it is left behind")

// computing is how long foreign code may take that only computes.
const computing = 10 * time.Second

// Compute calls foreign code that only computes, such as a provider's rules: see [Within].
func Compute[T any](what string, f func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), computing)
	defer cancel()
	return Within(ctx, 0, what, f)
}

// Within calls foreign code that may panic, or go on though its time is up: some time after the end of ctx it is left
// behind, which is [ErrLeftBehind]. What it returns then is lost, and what it was given may still be read.
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
	}
	select {
	case o := <-returned: // at the last moment
		return o.value, o.err
	default:
		var none T
		return none, fmt.Errorf("%s did not return in time: %w", what, ErrLeftBehind)
	}
}
