package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// exchange is this program's signaling, in memory: a server finds handlers by
// address, a client dials them.
type exchange struct {
	mu       sync.Mutex
	handlers map[string]signal.Handler
}

var _ signal.Dialer = (*exchange)(nil)

func newExchange() *exchange { return &exchange{handlers: make(map[string]signal.Handler)} }

func (x *exchange) serve(url string, h signal.Handler) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.handlers[url] = h
}

// Dial implements signal.Dialer.
func (x *exchange) Dial(ctx context.Context, url string, o signal.Offer) (signal.RemoteSession, error) {
	x.mu.Lock()
	h := x.handlers[url]
	x.mu.Unlock()
	if h == nil {
		return nil, &cdn.Error{Op: "dial", Stream: o.Stream, Err: cdn.ErrNotFound}
	}
	o.RemoteAddr = "127.0.0.1:0" // whoever asks is in this process
	if o.SDP != "" {
		s, err := h.Offer(ctx, o)
		if err != nil {
			return nil, err
		}
		return remote{Session: s}, nil
	}
	offerer, ok := h.(signal.Offerer)
	if !ok {
		return nil, fmt.Errorf("%w: %s makes no offers", cdn.ErrUnsupported, url)
	}
	s, err := offerer.Invite(ctx, o)
	if err != nil {
		return nil, err
	}
	return remote{Session: s, accept: s.Accept}, nil
}

// remote is a session of this process as its client sees it.
type remote struct {
	signal.Session
	accept func(ctx context.Context, answer string) error
}

func (r remote) Accept(ctx context.Context, answer string) error {
	if r.accept == nil {
		return fmt.Errorf("%w: no offer to accept", cdn.ErrInvalid)
	}
	return r.accept(ctx, answer)
}

func (r remote) Close(context.Context) error { return r.Session.Close() }
