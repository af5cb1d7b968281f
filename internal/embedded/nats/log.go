package natsserver

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// logger passes the server's lines on to slog and keeps the first fatal one: the server has no other way to say why it did not start.
type logger struct {
	log   *slog.Logger
	mu    sync.Mutex
	fatal error
}

var _ server.Logger = (*logger)(nil)

func newLogger(log *slog.Logger) *logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &logger{log: log.With("server", "nats")}
}

func (l *logger) fatalError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// Noticef logs at debug level: what the server finds notable is a page of start-up lines.
func (l *logger) Noticef(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }

// Warnf logs a warning.
func (l *logger) Warnf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }

// Errorf logs an error.
func (l *logger) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }

// Fatalf keeps the message for Start to return.
func (l *logger) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = fmt.Errorf(format, args...)
	}
}

// Debugf drops the line: the server is started without debugging.
func (l *logger) Debugf(string, ...any) {}

// Tracef drops the line: the server is started without tracing.
func (l *logger) Tracef(string, ...any) {}
