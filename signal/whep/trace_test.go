package whep_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
)

// traceReader is a handler that notes the trace of each offer.
type traceReader struct {
	cdntest.ScriptedHandler
	seen []cdn.TraceContext
}

func (h *traceReader) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	h.seen = append(h.seen, cdn.TraceOf(ctx))
	return h.ScriptedHandler.Offer(ctx, o)
}

// A trace goes from the client to the handler in the headers of W3C Trace Context, and
// a page of elsewhere may send them.
func TestTraceContext(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h := &traceReader{}
	s := serve(t, h)
	for _, c := range []struct{ sent, want cdn.TraceContext }{
		{cdn.TraceContext{Parent: parent, State: "a=1,b=2", Local: true}, cdn.TraceContext{Parent: parent, State: "a=1,b=2"}},
		{cdn.TraceContext{Parent: parent}, cdn.TraceContext{Parent: parent}},
		{cdn.TraceContext{Parent: "00-nonsense", State: "a=1"}, cdn.TraceContext{}},
		{cdn.TraceContext{}, cdn.TraceContext{}},
	} {
		h.seen = nil
		session, err := (&whep.Client{HTTP: s.Client()}).Dial(cdn.WithTrace(t.Context(), c.sent), s.URL+"/whep/live", signal.Offer{SDP: "v=0\r\n"})
		require.NoError(t, err)
		require.NoError(t, session.Close(t.Context()))
		require.Equal(t, []cdn.TraceContext{c.want}, h.seen)
	}
	resp := do(t, http.MethodOptions, s.URL+"/whep/live", "", "")
	require.Contains(t, resp.Header.Get("Access-Control-Allow-Headers"), "traceparent, tracestate")
}
