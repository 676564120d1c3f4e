// Package otel has the nodes of a CDN trace by OpenTelemetry: one trace leads from a
// viewer's request through every node that the stream comes through to the first frame
// that the viewer is sent.
//
//	node, err := cdn.Listen(cdn.Config{…, Tracer: otel.New(otel.Config{Provider: provider})})
//
// Nodes name their spans to each other by W3C Trace Context: in the header fields
// traceparent and tracestate over HTTP, and in the same form on links. Nodes without a
// Tracer between two others pass the trace on, as one span less.
package otel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/deltacdn/delta/cdn"
)

// Scope is the name of the instrumentation scope of all spans.
const Scope = "github.com/deltacdn/delta"

// AttrError is the attribute of a failed span that has the code of [cdn.ErrorCode].
const AttrError = "delta.error"

// Config sets up a [Tracer].
type Config struct {
	// Provider makes the spans; the caller owns it, and shuts it down after the node is
	// closed. Its span processors must not block: use a batching one. If nil,
	// [otel.GetTracerProvider].
	Provider trace.TracerProvider
}

// A Tracer is a [cdn.Tracer]. Several nodes may share one. Its methods may be called
// concurrently.
type Tracer struct{ tracer trace.Tracer }

var _ cdn.Tracer = (*Tracer)(nil)

// New returns a Tracer.
func New(c Config) *Tracer {
	if c.Provider == nil {
		c.Provider = otel.GetTracerProvider()
	}
	return &Tracer{c.Provider.Tracer(Scope)}
}

// Start implements [cdn.Tracer]. The parent is the span of ctx, such as one of an HTTP
// middleware, or else that of [cdn.TraceOf].
func (t *Tracer) Start(ctx context.Context, name string, attrs ...cdn.Attr) (context.Context, cdn.Span) {
	kind := trace.SpanKindInternal
	if !trace.SpanContextFromContext(ctx).IsValid() {
		parent := cdn.TraceOf(ctx)
		if c := extract(parent); c.IsValid() {
			ctx = trace.ContextWithSpanContext(ctx, c.WithRemote(!parent.Local))
		}
		if !parent.Local {
			kind = trace.SpanKindServer
		}
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(keyValues(attrs)...))
	return ctx, span{s}
}

func keyValues(attrs []cdn.Attr) []attribute.KeyValue {
	all := make([]attribute.KeyValue, len(attrs))
	for i, a := range attrs {
		all[i] = attribute.String(a.Key, a.Value)
	}
	return all
}

// extract returns the span that t names, an invalid one if it names none.
func extract(t cdn.TraceContext) trace.SpanContext {
	carrier := propagation.MapCarrier{"traceparent": t.Parent, "tracestate": t.State}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// span is a [cdn.Span].
type span struct{ trace.Span }

func (s span) Context() cdn.TraceContext {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.Span), carrier)
	return cdn.TraceContext{Parent: carrier["traceparent"], State: carrier["tracestate"]}
}

func (s span) Set(attrs ...cdn.Attr) { s.SetAttributes(keyValues(attrs)...) }

func (s span) End(err error) {
	if err != nil {
		s.SetStatus(codes.Error, err.Error())
		s.SetAttributes(attribute.String(AttrError, cdn.ErrorCode(err)))
	}
	s.Span.End()
}
