package otel_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/otel"
	"github.com/deltacdn/delta/relay"
)

// one is a [cdn.Source] of one stream.
type one struct{ stream *cdn.Stream }

func (s one) Open(context.Context, cdn.Request) (*cdn.Subscription, error) {
	return cdn.NewSubscription(s.stream, nil), nil
}

type noBack struct{}

func (noBack) RequestKeyframe() {}
func (noBack) Nack([]uint16)    {}

func tracedNode(t *testing.T, name string) (*cdn.Node, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	n, err := cdn.Listen(cdn.Config{
		ID: cdn.NodeID(name), Addr: "127.0.0.1:0", Tracer: otel.New(otel.Config{Provider: sdk.NewTracerProvider(sdk.WithSyncer(spans))}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n, spans
}

// Between nodes without a link the trace goes on in the headers of the request, over
// real HTTP.
func TestTraceOverHTTP(t *testing.T) {
	upper, upstream := tracedNode(t, "upper")
	stream, err := upper.NewStream("live")
	require.NoError(t, err)
	in, err := stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	require.NoError(t, in.Start([]cdn.TrackInfo{{
		ID: "sound", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}, Layers: []string{""},
	}}))
	layer, err := in.Layer(0, "", noBack{})
	require.NoError(t, err)
	layer.Write(time.Now(), &rtp.Packet{Header: rtp.Header{Version: 2, Timestamp: 1}, Payload: []byte{1}}, nil)
	handler, err := relay.Handler(upper, one{stream})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(relay.Prefix, handler)
	server := httptest.NewServer(mux)
	defer server.Close()

	lower, downstream := tracedNode(t, "lower")
	r, err := relay.New(lower, relay.Config{Directory: cdn.Static(server.URL), Fetcher: relay.NewWHEP(lower, relay.WHEPConfig{})})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(cdn.WithTrace(t.Context(), cdn.ParseTraceContext(request, "a=1")), 10*time.Second)
	defer cancel()
	sub, err := r.Open(ctx, cdn.Request{Stream: "live"})
	require.NoError(t, err)
	defer sub.Close()
	require.NoError(t, sub.Stream().Ready(ctx))

	find := func(spans *tracetest.InMemoryExporter, name string) (found tracetest.SpanStub) {
		require.Eventually(t, func() bool {
			for _, s := range spans.GetSpans() {
				if s.Name == name {
					found = s
					return true
				}
			}
			return false
		}, 5*time.Second, time.Millisecond, name)
		return found
	}
	fetch, subscribe, serve := find(downstream, "fetch"), find(downstream, "subscribe"), find(upstream, "serve")
	require.Equal(t, asked, serve.SpanContext.TraceID().String())
	require.Equal(t, subscribe.SpanContext.SpanID(), serve.Parent.SpanID())
	require.True(t, serve.Parent.IsRemote())
	require.Equal(t, "a=1", serve.SpanContext.TraceState().String())
	require.Equal(t, fetch.SpanContext.SpanID(), subscribe.Parent.SpanID())
	require.False(t, subscribe.Parent.IsRemote())
}
