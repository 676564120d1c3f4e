package cdn

import (
	"context"
	"strings"
)

// A Tracer records what a node does for one request, and how long each step takes, as
// spans: from a viewer's offer through the nodes that the stream comes through to the
// first frame that the viewer is sent. Package otel, a module of its own, has one on
// OpenTelemetry. Its methods are called concurrently, once a step and never for a
// packet, and must not block.
type Tracer interface {
	// Start begins a span. Its parent is the span that ctx carries in a way that the
	// Tracer knows, and otherwise [TraceOf] of ctx, which may be a span of another
	// node. Without either it begins a trace. The context returned carries the span.
	Start(ctx context.Context, name string, attrs ...Attr) (context.Context, Span)
}

// A Span is a step of a trace. Its methods may be called concurrently.
type Span interface {
	// Context names the span, for those that continue the trace.
	Context() TraceContext
	// Set adds attributes.
	Set(attrs ...Attr)
	// End ends the span now. err is why the step failed, nil if it did not. Only the
	// first call counts.
	End(err error)
}

// An Attr is an attribute of a span, such as the stream that it is about.
type Attr struct{ Key, Value string }

// The keys of the attributes that nodes set.
const (
	AttrNode    = "delta.node"    // the node that the span is of
	AttrStream  = "delta.stream"  // the stream's name
	AttrPeer    = "delta.peer"    // the other node, as it calls itself
	AttrURL     = "delta.url"     // of the other node's signaling
	AttrSession = "delta.session" // the session's name in events
	AttrAction  = "delta.action"  // "publish", "play" or "fetch"
)

// A TraceContext names a span as W3C Trace Context Level 1 does: by the values of the
// header fields traceparent and tracestate. The zero value names none.
type TraceContext struct {
	Parent string // traceparent, such as "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	State  string // tracestate, "" if there is none
	// Local says that the span is of this node.
	Local bool
}

// maxTraceState is the length in bytes beyond which a tracestate is dropped. W3C Trace
// Context section 3.3.1.5 asks for no more to be passed on.
const maxTraceState = 512

// ParseTraceContext returns the TraceContext that another system has sent as values of
// traceparent and tracestate; the zero value if the first is malformed. A state that
// is malformed or longer than 512 bytes is left out.
func ParseTraceContext(parent, state string) TraceContext {
	if !isTraceParent(parent) {
		return TraceContext{}
	}
	if len(state) > maxTraceState || strings.ContainsFunc(state, func(r rune) bool { return r < ' ' || r > '~' }) {
		state = ""
	}
	return TraceContext{Parent: parent, State: state}
}

// isTraceParent reports whether s is a traceparent (W3C Trace Context section 3.2).
// Later versions may be longer.
func isTraceParent(s string) bool {
	const version00 = 55
	if len(s) < version00 || len(s) > 256 || s[:2] == "ff" || s[:2] == "00" && len(s) != version00 || len(s) > version00 && s[version00] != '-' {
		return false
	}
	for i, field := range strings.Split(s[:version00], "-") {
		want := []int{2, 32, 16, 2}
		if i >= len(want) || len(field) != want[i] || strings.Trim(field, "0123456789abcdef") != "" {
			return false
		}
		if (i == 1 || i == 2) && strings.Trim(field, "0") == "" {
			return false
		}
	}
	return !strings.ContainsFunc(s[version00:], func(r rune) bool { return r <= ' ' || r > '~' })
}

type traceKey struct{}

// WithTrace returns a context that carries the name of a span: signaling calls it with
// what came with a request, and a node with its own spans.
func WithTrace(ctx context.Context, t TraceContext) context.Context {
	if t == (TraceContext{}) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the name of the span that ctx carries, for a request to another node;
// the zero value if there is none.
func TraceOf(ctx context.Context) TraceContext {
	t, _ := ctx.Value(traceKey{}).(TraceContext)
	return t
}

// Trace begins a span of this node, for the services on it. The context returned
// carries it, also for [TraceOf]. Without a [Config].Tracer it returns ctx, and a Span
// that records nothing.
func (n *Node) Trace(ctx context.Context, name string, attrs ...Attr) (context.Context, Span) {
	if n.config.Tracer == nil {
		return ctx, noSpan{}
	}
	ctx, span := n.config.Tracer.Start(ctx, name, append([]Attr{{AttrNode, string(n.config.ID)}}, attrs...)...)
	t := span.Context()
	t.Local = true
	return WithTrace(ctx, t), span
}

// Continue is Trace where ctx carries the name of a span already, by [TraceOf]. Elsewhere
// it returns ctx, and a Span that records nothing: it begins no trace.
func (n *Node) Continue(ctx context.Context, name string, attrs ...Attr) (context.Context, Span) {
	if n.config.Tracer == nil || TraceOf(ctx) == (TraceContext{}) {
		return ctx, noSpan{}
	}
	return n.Trace(ctx, name, attrs...)
}

// noSpan is the span of a node that traces nothing.
type noSpan struct{}

func (noSpan) Context() TraceContext { return TraceContext{} }
func (noSpan) Set(...Attr)           {}
func (noSpan) End(error)             {}
