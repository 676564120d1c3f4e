package otel_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/otel"
)

func newTracer() (*otel.Tracer, *tracetest.InMemoryExporter) {
	exporter := tracetest.NewInMemoryExporter()
	return otel.New(otel.Config{Provider: sdk.NewTracerProvider(sdk.WithSyncer(exporter))}), exporter
}

// A span's parent is the local one of the context, and otherwise what another node
// has named.
func TestParents(t *testing.T) {
	tracer, exporter := newTracer()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := cdn.WithTrace(t.Context(), cdn.ParseTraceContext(parent, "a=1"))
	ctx, outer := tracer.Start(ctx, "outer", cdn.Attr{Key: cdn.AttrStream, Value: "live"})
	named := outer.Context()
	_, inner := tracer.Start(ctx, "inner")
	inner.End(fmt.Errorf("%w: at 192.0.2.1", cdn.ErrNotFound))
	outer.End(nil)
	named.Local = true
	_, later := tracer.Start(cdn.WithTrace(t.Context(), named), "later")
	later.End(nil)

	all := exporter.GetSpans()
	require.Len(t, all, 3)
	inside, outside, after := all[0], all[1], all[2]
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", outside.SpanContext.TraceID().String())
	require.Equal(t, "b7ad6b7169203331", outside.Parent.SpanID().String())
	require.True(t, outside.Parent.IsRemote())
	require.Equal(t, trace.SpanKindServer, outside.SpanKind)
	require.Equal(t, "a=1", outside.SpanContext.TraceState().String())
	require.Equal(t, cdn.TraceContext{
		Parent: fmt.Sprintf("00-%v-%v-01", outside.SpanContext.TraceID(), outside.SpanContext.SpanID()), State: "a=1", Local: true,
	}, named)
	for _, child := range []tracetest.SpanStub{inside, after} {
		require.Equal(t, outside.SpanContext.SpanID(), child.Parent.SpanID())
		require.False(t, child.Parent.IsRemote())
		require.Equal(t, trace.SpanKindInternal, child.SpanKind)
	}
	require.Equal(t, codes.Error, inside.Status.Code)
	require.Equal(t, "not-found", inside.Attributes[0].Value.AsString())
}

// Nothing that comes from outside is taken for a span that it is not.
func TestNoParent(t *testing.T) {
	tracer, exporter := newTracer()
	_, span := tracer.Start(cdn.WithTrace(t.Context(), cdn.TraceContext{Parent: "00-nonsense"}), "root")
	span.End(nil)
	require.False(t, exporter.GetSpans()[0].Parent.IsValid())
}
