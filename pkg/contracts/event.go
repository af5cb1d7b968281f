package contracts

import (
	"context"
	"reflect"
)

// EventTyper is implemented by events that name their own type, for instance because the Go type was renamed after
// items of the old name were stored.
type EventTyper interface {
	EventType() string
}

// EventType is the name under which an event travels and is stored, and by which handlers are found: the event's own
// [EventTyper] name, else its Go type with the package's last element, such as "github.Issue". A pointer has the name
// of what it points to, also when it is nil or EventType has a pointer receiver. The name of an untyped nil is empty.
// Items whose type has more than 200 bytes, or is not UTF-8 text without control characters, can't be stored and are
// dead at once.
func EventType(event any) string {
	v := reflect.ValueOf(event)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return ""
	}
	// A pointer has the methods of both receivers.
	if reflect.PointerTo(v.Type()).Implements(reflect.TypeFor[EventTyper]()) {
		pointer := reflect.New(v.Type())
		pointer.Elem().Set(v)
		if named, ok := reflect.TypeAssert[EventTyper](pointer); ok {
			return named.EventType()
		}
	}
	return v.Type().String()
}

// Attempt says which try of which item a handler is serving.
type Attempt struct {
	// Run is the id of the sync run.
	Run string
	// Item identifies the item within Tributary: run, attempt, batch and index.
	Item string
	// ExternalID is the id of the record at the upstream, if the provider gave one.
	ExternalID string
	// Try counts from 1; deferrals don't count.
	Try int
	// MaxTries is the number of tries after which the item is dead.
	MaxTries int
}

// LastTry reports whether the item is dead if this try fails.
func (a Attempt) LastTry() bool { return a.Try >= a.MaxTries }

// AttemptKey is the key of the [Attempt] that a context carries. The runtime's own contexts answer to it without having
// been made by [WithAttempt]; read it with [AttemptFrom].
type AttemptKey struct{}

// WithAttempt returns a context that carries the attempt, as the context of every handler does: for tests of handlers.
func WithAttempt(ctx context.Context, a Attempt) context.Context {
	return context.WithValue(ctx, AttemptKey{}, a)
}

// AttemptFrom returns the attempt that the handler is serving, and false outside a handler.
func AttemptFrom(ctx context.Context) (Attempt, bool) {
	a, ok := ctx.Value(AttemptKey{}).(Attempt)
	return a, ok
}
