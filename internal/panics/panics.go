// Package panics turns the panics of providers, handlers and other code that is not ours into errors, so that they cost an item and not the process.
package panics

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/tributaryhq/tributary/internal/foreign"
)

// Error is a panic that was caught. Its text may be stored and shown; where it happened is for logs: see [Report].
type Error struct {
	What  string
	Value any
	stack []byte
}

func (e *Error) Error() string { return fmt.Sprintf("%s panicked: %v", e.What, e.Value) }

// Catch is to be deferred by a function that calls foreign code: when that panics, the function returns an [*Error],
// which says what has. An error that would panic later, or that wraps itself, is replaced as well.
func Catch(err *error, what string) {
	if v := recover(); v != nil {
		*err = &Error{What: what, Value: v, stack: debug.Stack()}
		return
	}
	if *err != nil {
		*err = sound(*err, what)
	}
}

// Try calls f, and returns its error or that of its panic.
func Try(what string, f func() error) (err error) {
	defer Catch(&err, what)
	return f()
}

// Report logs where the panic was that an error comes from; nothing for other errors.
func Report(log *slog.Logger, err error, args ...any) {
	if caught, ok := errors.AsType[*Error](err); ok {
		log.Error(foreign.Redact(caught.Error()), append(args, "stack", string(caught.stack))...)
	}
}
