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
	Mismatches() []send.Mismatch // known when the stream is
}

// A viewer is one viewer's session: what carries the stream, and what has to
// be given back at its end.
type viewer struct {
	// static
	edge      *Edge
	id        cdn.StreamID
	admission *cdn.Admission
	made      chan struct{} // closed when Offer returns

	// Static when made is closed.
	transport // nil if it failed; set with edge.mu held
	opening   *opening
	late      chan struct{} // closed when one that was answered before has its stream; nil: it had

	sent    send.Stats // at the end
	changes changes    // of the status

	// guarded by edge.mu
	stream *cdn.Stream // nil while it is not ready
	cancel func(error) // ends the wait for it; nil: nothing waits
}

// start makes the transport. On an error everything but the admission is given
// back.
func (v *viewer) start(ctx context.Context, o signal.Offer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := v.edge.add(v, cancel); err != nil {
		return err
	}
	t, err := v.connect(ctx, o)
	if err != nil {
		v.opening.close()
		v.edge.remove(v)
		return err
	}
	e := v.edge
	e.mu.Lock()
	defer e.mu.Unlock()
	v.transport, v.cancel = t, nil
	if e.closed {
		t.End(cdn.ErrClosed)
	}
	if s, ok := t.(*lite.Session); ok && v.stream == nil {
		wait, cancel := context.WithCancelCause(context.Background()) // what Offer was given ends with it
		v.cancel, v.late = cancel, make(chan struct{})
		e.work.Go(func() { v.playLate(wait, s) })
		if e.closed {
			cancel(cdn.ErrClosed)
		}
	}
	return nil
}

// connect makes a session of Delta's own, or a PeerConnection where that is
// wanted, or needed by an offer that is out of the ordinary. Those wait for the
// stream; the others may get it later.
func (v *viewer) connect(ctx context.Context, o signal.Offer) (transport, error) {
	e := v.edge
	c := send.Config{Layer: o.Layer, Slow: e.slowConfig(), OnSlow: v.slow, OnShed: e.shed}
	if f := e.config.Start; f != nil {
		c.Start = f(v.id)
	}
	if f := e.config.Playout; f != nil {
		c.Playout = f(v.id)
	}
	if !e.config.PeerConnections {
		err := v.open(ctx, e.answerBy(v.id))
		if err != nil && !errors.Is(err, errNotYet) {
			return nil, err
		}
		t, err := v.answer(c, o)
		if errors.Is(err, cdn.ErrUnsupported) && v.stream == nil {
			if err := v.open(ctx, time.Time{}); err != nil {
				return nil, err
			}
			t, err = v.answer(c, o)
		}
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, cdn.ErrUnsupported) {
			return nil, v.opening.failed(err)
		}
		e.node.Logger().Info("a viewer gets a PeerConnection", "stream", string(v.id), "why", err)
	}
	if err := v.open(ctx, time.Time{}); err != nil {
		return nil, err
	}
	t, err := pcsend.Answer(ctx, pcsend.Config{
		Config: c, Node: e.node, Stream: v.stream, Expires: v.admission.Grant().Expires, Connected: v.admission.Proved, Ended: v.ended,
	}, o.SDP)
	if err != nil {
		return nil, v.opening.failed(err)
	}
	return t, nil
}

func (v *viewer) answer(c send.Config, o signal.Offer) (*lite.Session, error) {
	return lite.Answer(lite.Config{
		Config: c, Stream: v.stream, Transport: v.edge.node.Transport(), Log: v.edge.node.PionLogger(),
		Watch: &v.edge.watch, Expires: v.admission.Grant().Expires, Proved: v.admission.Proved, Ended: v.ended,
	}, o.SDP)
}

// open waits for the stream until it is ready; see [opening.wait].
func (v *viewer) open(ctx context.Context, until time.Time) error {
	if err := v.opening.wait(ctx, until); err != nil {
		return err
	}
	v.edge.mu.Lock()
	v.stream = v.opening.sub.Stream()
	v.edge.mu.Unlock()
	v.changes.tell()
	return nil
}

// playLate gives a viewer who was answered before its stream when that is ready,
// or ends its session.
func (v *viewer) playLate(ctx context.Context, s *lite.Session) {
	defer close(v.late)
	err := v.open(ctx, time.Time{})
	if err == nil {
		if err = s.Play(v.stream); err != nil {
			if errors.Is(err, lite.ErrNoVideo) {
				v.edge.wait(v.id)
			}
			err = v.opening.failed(err)
		}
	}
	if err != nil {
		v.edge.warnOfCodecs(v.id, err)
		s.End(err)
		return
	}
	<-v.made
	v.tellMismatches()
}

// end begins the viewer's end; one that is still being made ends when it is.
func (v *viewer) end(err error) {
	v.edge.mu.Lock()
	t, cancel := v.transport, v.cancel
	v.edge.mu.Unlock()
	if cancel != nil {
		cancel(err)
	}
	if t != nil {
		t.End(err)
	}
}

// ended is called when the session is over.
func (v *viewer) ended(err error, sent send.Stats) {
	v.sent = sent
	<-v.made
	if v.late != nil {
		v.end(err)
		<-v.late
	}
	v.opening.close()
	v.admission.Leave(err)
	v.edge.remove(v)
}

func (v *viewer) slow(layer string, paused bool) {
	v.changes.tell()
	v.edge.node.Emit(cdn.ViewerSlow{Stream: v.id, Session: v.admission.Name(), Layer: layer, Paused: paused})
}
