package redact

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Logger returns a logger that redacts messages and attributes before log writes them.
func (r *Redactor) Logger(log *slog.Logger) *slog.Logger {
	return slog.New(&redactedLog{Handler: log.Handler(), redactor: r})
}

type redactedLog struct {
	slog.Handler
	redactor *Redactor
}

func (h *redactedLog) Handle(ctx context.Context, record slog.Record) error {
	shown := slog.NewRecord(record.Time, record.Level, h.redactor.Text(record.Message), record.PC)
	record.Attrs(func(attr slog.Attr) bool {
		shown.AddAttrs(h.attr(attr))
		return true
	})
	return h.Handler.Handle(ctx, shown)
}

func (h *redactedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	shown := make([]slog.Attr, 0, len(attrs))
	for _, attr := range attrs {
		shown = append(shown, h.attr(attr))
	}
	return &redactedLog{Handler: h.Handler.WithAttrs(shown), redactor: h.redactor}
}

func (h *redactedLog) WithGroup(name string) slog.Handler {
	return &redactedLog{Handler: h.Handler.WithGroup(name), redactor: h.redactor}
}

// attr redacts one attribute. A value of a type of its own that turns out to hold a secret is written as a text.
func (h *redactedLog) attr(attr slog.Attr) slog.Attr {
	value := attr.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		return slog.String(attr.Key, h.redactor.Text(value.String()))
	case slog.KindGroup:
		inner := make([]slog.Attr, 0, len(value.Group()))
		for _, attr := range value.Group() {
			inner = append(inner, h.attr(attr))
		}
		return slog.Attr{Key: attr.Key, Value: slog.GroupValue(inner...)}
	case slog.KindAny:
		if err, ok := value.Any().(error); ok {
			return slog.Any(attr.Key, h.redactor.Error(err))
		}
		// The two forms in which slog's handlers write it.
		encoded, _ := json.Marshal(value.Any())
		text := fmt.Sprintf("%+v", value.Any())
		if h.redactor.Text(text) != text || h.redactor.Text(string(encoded)) != string(encoded) {
			return slog.String(attr.Key, h.redactor.Text(string(encoded)))
		}
	default: // numbers and times hold no secret
	}
	return slog.Attr{Key: attr.Key, Value: value}
}
