package edge

import (
	"context"
	"errors"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/lite"
	"github.com/deltacdn/delta/internal/pcsend"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/signal"
)

// transport is what sends a stream to one viewer.
type transport interface {
	signal.Session
	End(err error) // begins the end and does not wait
	Stats() send.Stats
}

// A viewer is one viewer's session: what carries the stream, and what has to
// be given back at its end.
type viewer struct {
	transport
	edge    *Edge
	sub     *cdn.Subscription
	release func()
	begun   time.Time
	name    string     // for events: the session's id is a secret
	sent    send.Stats // at the end

	told chan struct{} // closed when the start has been told of
}

// start makes the transport. On an error everything is given back.
func (v *viewer) start(ctx context.Context, o signal.Offer, grant cdn.Grant) error {
	if err := v.edge.add(v); err != nil {
		v.giveBack()
		return err
	}
	t, err := v.connect(ctx, o, grant)
	if err != nil {
		v.edge.remove(v)
		v.giveBack()
		return &cdn.Error{Op: "play", Stream: v.sub.Stream().ID(), Err: err}
	}
	v.edge.mu.Lock()
	v.transport = t
	closed := v.edge.closed
	v.edge.mu.Unlock()
	if closed {
		t.End(cdn.ErrClosed)
	}
	return nil
}

// connect makes a session of Delta's own, or a PeerConnection where that is
// wanted, or needed by an offer that is out of the ordinary.
func (v *viewer) connect(ctx context.Context, o signal.Offer, grant cdn.Grant) (transport, error) {
	e, stream := v.edge, v.sub.Stream()
	c := send.Config{Layer: o.Layer, CatchUp: e.config.CatchUp, Slow: e.slowConfig(), OnSlow: v.slow, OnShed: e.shed}
	if f := e.config.Playout; f != nil {
		c.Playout = f(stream.ID())
	}
	if !e.config.PeerConnections {
		t, err := lite.Answer(lite.Config{
			Config: c, Stream: stream, Transport: e.node.Transport(), Log: e.node.PionLogger(),
			Expires: grant.Expires, Ended: v.ended,
		}, o.SDP)
		if err == nil || !errors.Is(err, cdn.ErrUnsupported) {
			return t, err
		}
		e.node.Logger().Info("a viewer gets a PeerConnection", "stream", string(stream.ID()), "why", err)
	}
	return pcsend.Answer(ctx, pcsend.Config{
		Config: c, Node: e.node, Stream: stream, Expires: grant.Expires, Ended: v.ended,
	}, o.SDP)
}

// end begins the viewer's end; one that is still being made ends when it is.
func (v *viewer) end(err error) {
	v.edge.mu.Lock()
	t := v.transport
	v.edge.mu.Unlock()
	if t != nil {
		t.End(err)
	}
}

func (v *viewer) giveBack() {
	v.sub.Close()
	v.release()
}

// ended is called when the session is over.
func (v *viewer) ended(err error, sent send.Stats) {
	v.sent = sent
	v.giveBack()
	<-v.told
	v.edge.node.Emit(cdn.SessionEnded{
		Stream: v.sub.Stream().ID(), Action: cdn.ActionPlay, Session: v.name, Lasted: time.Since(v.begun), Err: err,
	})
	v.edge.remove(v)
}

func (v *viewer) slow(layer string, paused bool) {
	v.edge.node.Emit(cdn.ViewerSlow{Stream: v.sub.Stream().ID(), Session: v.name, Layer: layer, Paused: paused})
}
