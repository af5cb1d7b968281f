package bus_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	quick = 10 * time.Millisecond
	hour  = time.Hour
)

// quiet keeps the client from printing what a test expects: that the connection breaks.
func quiet() nats.Option { return nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) }

// eventually waits for a condition, for as long as a loaded machine may need.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(quick)
	defer ticker.Stop()
	for !cond() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatal("waited in vain")
		}
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

// onRecord is a log handler that calls f at the first warning.
func onRecord(f func()) slog.Handler { return &recorder{first: sync.OnceFunc(f)} }

type recorder struct{ first func() }

func (r *recorder) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (r *recorder) Handle(context.Context, slog.Record) error        { r.first(); return nil }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler               { return r }
func (r *recorder) WithGroup(string) slog.Handler                    { return r }
