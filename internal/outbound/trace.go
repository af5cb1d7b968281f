package outbound

import (
	"io"
	"net/http"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/internal/redact"
)

// traced makes a span of each request, from its start until its answer is read, and shows errors without secrets. No
// trace header leaves the house: an upstream has no use for it.
//
// otelhttp would put the whole URL into the span before anybody could redact it, and spend more on metrics that nobody
// reads than all of this takes.
type traced struct {
	next     http.RoundTripper
	tracer   trace.Tracer
	redactor func() *redact.Redactor
}

func (t *traced) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.Start(req.Context(), "HTTP "+methodOf(req), trace.WithSpanKind(trace.SpanKindClient))
	if !span.IsRecording() {
		// Nobody will see it.
		span.End()
		res, err := t.next.RoundTrip(req)
		return res, t.redacted(err)
	}
	span.SetAttributes(t.requestAttributes(req)...)
	res, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = t.redacted(err)
		span.SetStatus(codes.Error, err.Error())
		span.End()
		return nil, err
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(res.StatusCode))
	if res.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "")
	}
	if res.Body == nil || res.StatusCode == http.StatusSwitchingProtocols {
		span.End()
		return res, nil
	}
	res.Body = &tracedBody{ReadCloser: res.Body, end: sync.OnceFunc(func() { span.End() })}
	return res, nil
}

func (t *traced) requestAttributes(req *http.Request) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(methodOf(req)), semconv.URLFull(t.redactor().URL(req.URL).String()),
		semconv.ServerAddress(req.URL.Hostname()),
	}
}

func (t *traced) redacted(err error) error {
	if err == nil {
		return nil
	}
	return t.redactor().Error(err)
}

func methodOf(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}

// tracedBody ends its span when it has been read, or when nobody wants more of it.
type tracedBody struct {
	io.ReadCloser
	end func()
}

func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

func (b *tracedBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}
