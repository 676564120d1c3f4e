package link

import (
	"context"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/send"
)

// tracing is a subscription's part of a trace that the other node has begun. It ends
// when the first packet is sent.
type tracing struct {
	within   context.Context // carries the span
	span     cdn.Span
	keyframe cdn.Span // guarded by the set; nil: none was asked for
}

// trace begins the subscription's span, if the other node traces it, and returns a
// context that carries it.
func (s *outbound) trace(a control.Subscribe) context.Context {
	from := cdn.WithTrace(s.ctx, cdn.ParseTraceContext(a.TraceParent, a.TraceState))
	s.within, s.span = s.link.links.node.Continue(from, "serve",
		cdn.Attr{Key: cdn.AttrStream, Value: a.Stream}, cdn.Attr{Key: cdn.AttrPeer, Value: string(s.link.Peer())})
	return s.within
}

// traceEnd ends the spans that have not ended.
func (s *outbound) traceEnd(err error) {
	if s.keyframe != nil {
		s.keyframe.End(err)
	}
	s.span.End(err)
}

// step notes a step of the set, which is locked.
func (s *outbound) step(what send.Step) {
	switch what {
	case send.StepAsked:
		_, s.keyframe = s.link.links.node.Continue(s.within, "keyframe request")
	case send.StepPacket:
		s.span.End(nil)
	case send.StepFrame:
		if s.keyframe != nil {
			s.keyframe.End(nil)
		}
	default:
	}
}
