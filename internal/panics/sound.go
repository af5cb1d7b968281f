package panics

import (
	"fmt"
	"runtime/debug"
)

// mostWrapped is how many errors an error may wrap. One that wraps itself has no end.
const mostWrapped = 1000

// probe is what errors are compared with, to see whether that works. No error is the same.
type probe struct{}

func (probe) Error() string { return "" }

// sound returns an error of foreign code, unless it panics when it is looked at, as a nil pointer of the author's own
// error type does, or has no end: then it returns an error that says so. Whoever gets it may ask it for anything that
// errors are asked for.
func sound(err error, what string) (looked error) {
	defer func() {
		if v := recover(); v != nil {
			looked = &Error{What: "the error of " + what, Value: v, stack: debug.Stack()}
		}
	}()
	left := mostWrapped
	if !ends(err, &left) {
		return fmt.Errorf("%s returned an error that wraps itself, or more than %d others", what, mostWrapped)
	}
	_ = err.Error()
	return err
}

// ends looks at all that an error wraps, as [errors.Is] and [errors.As] do.
func ends(err error, left *int) bool {
	for err != nil {
		if *left--; *left < 0 {
			return false
		}
		if e, ok := err.(interface{ Is(target error) bool }); ok {
			e.Is(probe{})
		}
		if e, ok := err.(interface{ As(target any) bool }); ok {
			var target *Error
			e.As(&target)
		}
		switch e := err.(type) { //nolint:errorlint // each of them is looked at
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				if !ends(one, left) {
					return false
				}
			}
			return true
		default:
			return true
		}
	}
	return true
}
