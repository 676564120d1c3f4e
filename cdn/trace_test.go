package cdn_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// W3C Trace Context section 3.2: what is malformed is passed over, whoever sent it.
func TestParseTraceContext(t *testing.T) {
	for _, good := range []string{
		traceParent,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-a-later-version-adds",
	} {
		require.Equal(t, cdn.TraceContext{Parent: good, State: "a=1,b=2"}, cdn.ParseTraceContext(good, "a=1,b=2"))
	}
	for _, bad := range []string{
		"", "00", traceParent[1:], traceParent + "x", traceParent + "-01",
		"ff" + traceParent[2:],
		strings.ToUpper(traceParent),
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
		"00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-\r\n",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" + strings.Repeat("x", 300),
	} {
		require.Zero(t, cdn.ParseTraceContext(bad, "a=1"), bad)
	}
	for _, state := range []string{"a=1\r\nCookie: x", strings.Repeat("a", 513), "a=\x00"} {
		require.Equal(t, cdn.TraceContext{Parent: traceParent}, cdn.ParseTraceContext(traceParent, state))
	}
}

func FuzzParseTraceContext(f *testing.F) {
	f.Add(traceParent, "a=1")
	f.Add("01"+traceParent[2:]+"-x", "")
	f.Fuzz(func(t *testing.T, parent, state string) {
		c := cdn.ParseTraceContext(parent, state)
		if c.Parent == "" {
			require.Zero(t, c)
			return
		}
		require.Equal(t, c, cdn.ParseTraceContext(c.Parent, c.State))
		require.False(t, strings.ContainsAny(c.Parent+c.State, "\r\n\x00"), "it goes into a header")
	})
}

// Without a Tracer a step costs nothing.
func TestNoTracer(t *testing.T) {
	n := &cdn.Node{}
	ctx := cdn.WithTrace(t.Context(), cdn.TraceContext{Parent: traceParent})
	allocs := testing.AllocsPerRun(100, func() {
		got, span := n.Trace(ctx, "step", cdn.Attr{Key: "key", Value: "value"})
		span.End(context.Canceled)
		if cdn.TraceOf(got).Parent != traceParent {
			t.Fatal("the trace of the request goes on to other nodes")
		}
	})
	require.Zero(t, allocs)
}
