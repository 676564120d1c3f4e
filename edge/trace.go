package edge

import (
	"context"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send"
)

// A beginning times a viewer's way to its first frame, and traces it where the node has a
// Tracer. Its methods may be called concurrently.
type beginning struct {
	node  *cdn.Node
	begun time.Time
	ctx   context.Context // carries the span of the whole; without a Tracer nothing
	play  cdn.Span

	mu    sync.Mutex
	steps map[string]cdn.Span // those that have begun and not ended
	done  bool
}

// The names of the spans of a viewer.
const (
	spanPlay     = "play" // all of it
	spanOffer    = "offer"
	spanWait     = "wait for input"
	spanConnect  = "connect"
	spanKeyframe = "keyframe request"
	spanPacket   = "first packet"
	spanFrame    = "first frame"
)

func (e *Edge) begin(ctx context.Context, id cdn.StreamID) *beginning {
	b := &beginning{node: e.node, begun: time.Now(), ctx: context.Background()}
	if !e.node.Internal().Traced {
		return b
	}
	b.steps = make(map[string]cdn.Span)
	b.ctx, b.play = e.node.Trace(ctx, spanPlay, cdn.Attr{Key: cdn.AttrStream, Value: string(id)})
	return b
}

// detached returns a context that carries the span of the whole and does not end.
func (b *beginning) detached() context.Context {
	return cdn.WithTrace(context.Background(), cdn.TraceOf(b.ctx))
}

// start begins a step.
func (b *beginning) start(name string) {
	if !b.node.Internal().Traced {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.done && b.steps[name] == nil {
		_, b.steps[name] = b.node.Trace(b.ctx, name)
	}
}

// end ends a step, if it has begun.
func (b *beginning) end(name string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.steps[name]; s != nil {
		s.End(err)
		delete(b.steps, name)
	}
}

// connected is called when ICE and DTLS are done.
func (b *beginning) connected() {
	b.end(spanConnect, nil)
	b.start(spanPacket)
	b.start(spanFrame)
}

// step is called with the viewer's set locked.
func (b *beginning) step(s send.Step) {
	switch s {
	case send.StepAsked:
		b.start(spanKeyframe)
	case send.StepPacket:
		b.end(spanPacket, nil)
	case send.StepFrame:
		b.node.Internal().FirstFrameSent(time.Since(b.begun))
		b.over(nil)
	default:
	}
}

// over ends the spans that have not ended. Only the first call counts.
func (b *beginning) over(err error) {
	b.mu.Lock()
	steps, done := b.steps, b.done
	b.steps, b.done = nil, true
	b.mu.Unlock()
	if done || !b.node.Internal().Traced {
		return
	}
	for _, s := range steps {
		s.End(err)
	}
	b.play.End(err)
}

// with returns a context that ends with ctx and has the values of traced.
func (b *beginning) with(ctx, traced context.Context) context.Context {
	if !b.node.Internal().Traced {
		return ctx
	}
	return valued{ctx, traced}
}

// valued is a context with the values of another one.
type valued struct {
	context.Context
	values context.Context
}

func (v valued) Value(key any) any { return v.values.Value(key) }
