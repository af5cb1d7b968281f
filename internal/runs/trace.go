package runs

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// traceHeader carries a trace from the run's opening, through the due event, the batches and their hops, to its close.
const traceHeader = "traceparent"

// traceOfNewRun starts the trace of a run and returns it as a header; empty where nothing is traced.
func (s *Store) traceOfNewRun(ctx context.Context, integration *postgres.Integration) string {
	ctx, span := s.Tracer.Start(ctx, "open run", trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("tributary.provider", integration.Provider), attribute.String("tributary.integration",
			integration.ID.String())))
	defer span.End()
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceHeader]
}

// spanOf starts a span in the trace of a run, for the caller to end.
func (s *Store) spanOf(ctx context.Context, run *postgres.Run, name string) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceHeader: run.Trace})
	//nolint:spancheck // the caller ends it
	return s.Tracer.Start(ctx, name, trace.WithAttributes(attribute.String("tributary.run", run.ID.String())))
}
