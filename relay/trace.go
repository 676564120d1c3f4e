package relay

import (
	"context"
	"sync"

	"github.com/deltacdn/delta/cdn"
)

// trace begins the span of a fetch, a child of the first request's. It ends when the stream
// is here, or cannot be had.
func (f *fetch) trace(request context.Context) {
	ctx, span := f.relay.node.Trace(request, "fetch", cdn.Attr{Key: cdn.AttrStream, Value: string(f.stream.ID())})
	f.traced = cdn.TraceOf(ctx)
	if f.relay.node.Internal().Traced {
		f.relay.work.Go(func() { span.End(f.stream.Ready(context.Background())) }) // it ends, or is ready
	}
}

// tracing returns ctx for a request to a node: with the trace of the first request, while
// the stream is not here yet. Later ones are nothing that the first waits for.
func (f *fetch) tracing(ctx context.Context) context.Context {
	if f.stream.Tracks() != nil {
		return ctx
	}
	return cdn.WithTrace(ctx, f.traced)
}

// subscribeSpans are the spans of fetching a stream from one node. A nil one traces nothing.
// Its methods may be called concurrently.
type subscribeSpans struct {
	node  *cdn.Node
	ctx   context.Context
	attrs []cdn.Attr

	mu        sync.Mutex
	link      cdn.Span // until the link is up. nil, as all three: over, or it never began
	subscribe cdn.Span // until the other node has accepted
	first     cdn.Span // until the first packet has come
	came      bool     // the first packet, perhaps ahead of the acceptance
}

// subscribing begins to trace, if the request is traced. linked: a link is up.
func (f *Link) subscribing(ctx context.Context, from cdn.Entry, linked bool) (context.Context, *subscribeSpans) {
	if !f.node.Internal().Traced || cdn.TraceOf(ctx) == (cdn.TraceContext{}) {
		return ctx, nil
	}
	s := &subscribeSpans{node: f.node, ctx: ctx, attrs: []cdn.Attr{{Key: cdn.AttrPeer, Value: string(from.Node)}, {Key: cdn.AttrURL, Value: from.URL}}}
	if !linked {
		_, s.link = f.node.Trace(ctx, "link", s.attrs...)
	}
	ctx, s.subscribe = f.node.Trace(ctx, "subscribe", s.attrs...)
	return ctx, s
}

// up is called when a link is up.
func (s *subscribeSpans) up() { s.end(&s.link, nil) }

// accepted is called when the other node has said what the stream holds.
func (s *subscribeSpans) accepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscribe == nil {
		return // a second subscription, since the link was lost
	}
	s.subscribe.End(nil)
	s.subscribe = nil
	_, s.first = s.node.Trace(s.ctx, "first packet", s.attrs...)
	if s.came {
		s.first.End(nil)
		s.first = nil
	}
}

// began is called when the first packet has come.
func (s *subscribeSpans) began() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came = true
	if s.first != nil {
		s.first.End(nil)
		s.first = nil
	}
}

// over ends what has not ended.
func (s *subscribeSpans) over(err error) {
	if s == nil {
		return
	}
	for _, span := range []*cdn.Span{&s.link, &s.subscribe, &s.first} {
		s.end(span, err)
	}
}

func (s *subscribeSpans) end(span *cdn.Span, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *span != nil {
		(*span).End(err)
		*span = nil
	}
}
