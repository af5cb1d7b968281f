// Package telemetry is what a process tells of itself: structured logs, Prometheus metrics, traces, and the endpoints that serve them and its
// health. Every command of the binary sets it up once.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/httpserver"
	"github.com/tributaryhq/tributary/internal/panics"
)

// scrapesAtATime bounds what gathering all metrics costs; others are answered with 503.
const scrapesAtATime = 4

// maxLogged is how many bytes of a text a log line has. It is enough for the part of a stack that says where a panic was.
const maxLogged = 8 << 10

// NewLogger logs to w as text or JSON, from a level on: debug, info, warn or error. Every text of a line is redacted,
// cleaned and cut, for it may be foreign: see [foreign.Redact] and [foreign.Clean].
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var threshold slog.Level
	if err := threshold.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: it can be debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: threshold, ReplaceAttr: clean}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("log format %q: it can be text or json", format)
}

// shown is a text as a log line may have it.
func shown(text string) string { return foreign.Clean(foreign.Redact(text), maxLogged).String() }

// clean redacts, cleans and cuts an attribute, the message among them.
func clean(_ []string, attr slog.Attr) slog.Attr {
	switch attr.Value.Kind() {
	case slog.KindString:
		attr.Value = slog.StringValue(shown(attr.Value.String()))
	case slog.KindAny:
		var text string
		switch value := attr.Value.Any().(type) {
		case slog.Level, *slog.Source, nil:
			return attr
		case error:
			// An error may panic, as one that is a nil pointer does. The handler knows how to log that.
			if panics.Try("the error", func() error { text = value.Error(); return nil }) != nil {
				return attr
			}
			attr.Value = slog.StringValue(shown(text))
		default:
			text = fmt.Sprintf("%+v", value)
			if cleaned := shown(text); cleaned != text {
				attr.Value = slog.StringValue(cleaned)
			}
		}
	default: // numbers and times are no texts
	}
	return attr
}

// NewRegistry returns a registry with the metrics of the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	_ = registry.Register(collectors.NewGoCollector())
	_ = registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// NewTracers exports spans by OTLP over HTTP to an endpoint such as http://localhost:4318, or nowhere when it is empty. stop flushes.
func NewTracers(ctx context.Context, endpoint, service string) (tracers trace.TracerProvider, stop func(context.Context) error, err error) {
	if endpoint == "" {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(endpoint, "/")+"/v1/traces"))
	if err != nil {
		return nil, nil, fmt.Errorf("export traces to %s: %w", endpoint, err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName(service))))
	return provider, provider.Shutdown, nil
}

// Check is a part of the process's readiness as strangers see it: its name, and whether it is well.
type Check struct {
	Name string
	OK   bool
}

// Serve answers /metrics, /livez and /readyz on addr until ctx ends. An empty addr serves nothing. The bound address is logged.
func Serve(ctx context.Context, addr string, registry *prometheus.Registry, checks func() []Check, log *slog.Logger) error {
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve metrics and health on %s (choose another with --http-addr): %w", addr, err)
	}
	log.Debug("serving metrics and health", "address", listener.Addr().String())
	return httpserver.New(httpserver.Config{
		Name: "metrics and health", Handler: Handler(registry, checks), Limits: httpserver.DefaultLimits(), Drain: httpserver.Drain{Grace: 2 * time.Second}, Log: log,
	}).Serve(ctx, listener)
}

// Handler is what [Serve] serves: /livez is 200 while the process runs, /readyz is 503 while a check is not well. It shows the names of the checks alone: hosts,
// users and errors are for the log and for operators. checks is called for every request, so that it must be cheap.
func Handler(registry *prometheus.Registry, checks func() []Check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, MaxRequestsInFlight: scrapesAtATime}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, text := http.StatusOK, strings.Builder{}
		for _, check := range checks() {
			says := "ok"
			if !check.OK {
				status, says = http.StatusServiceUnavailable, "not ok"
			}
			text.WriteString(check.Name + ": " + says + "\n")
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text.String())
	})
	return mux
}
