package edge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc/pcsend"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/viewer"
	"github.com/deltacdn/delta/signal"
)

// A transport sends a stream to one viewer.
type transport interface {
	signal.EndableSession
	// Play sends the stream, once it is ready. It fails with [cdn.ErrNoCommonCodec], with
	// [cdn.ErrNotFound] for a layer that is not there, or with [viewer.ErrNoVideo]; then
	// the transport is to be ended.
	Play(stream *cdn.Stream) error
	Stats() send.Stats
	Sent() (sent cdn.Flow, shed uint64)
	Mismatches() []send.Mismatch // known once Play has succeeded
	SetLayer(name string) error
	BoundChanged() // MaxBitrate of the config returns something else now
}

// A playSession is one viewer's session, from its offer on:
//
//	authorize ─► open the stream ─► answer ─► wait for the stream ─► play ─► end
type playSession struct {
	// static
	edge      *Edge
	id        cdn.StreamID
	admission *cdn.Admission
	beginning *beginning

	work    sync.WaitGroup  // what takes the viewer from its offer to its stream
	ctx     context.Context // of work: ends when the viewer gives up, and its cause says why; nil once work is done
	opening *opening        // of work
	count   func()          // measures for the last time; static once work is done
	changes changes         // of the status
	fitted  fitted          // the last step of its adaptation
	bound   atomic.Int64    // that the viewer has asked for, or SetMaxBitrate has set, 0: none
	most    int             // Adapt.MaxBitrate, 0: none; static once it is answered

	// guarded by edge.mu
	cancel    context.CancelCauseFunc // of ctx; nil: work is done
	transport transport               // nil: it is not answered yet; then static
	stream    *cdn.Stream             // nil: it is not ready yet; then static
	goTo      string                  // the base URL of the node that it was asked to go to; "": none
	askedAt   time.Time               // when it was last to be asked to go
}

// An answered viewer is a signal.Session.
type answered struct {
	transport
	*playSession
}

// serve takes the viewer from its offer to its answer, and to its stream if that is ready
// soon enough; otherwise the stream follows. making bounds the time until the answer.
func (v *playSession) serve(making context.Context, o signal.Offer) error {
	v.work.Add(1)
	defer v.work.Done()
	if err := v.edge.add(v); err != nil {
		return err
	}
	stop := context.AfterFunc(making, func() { v.giveUp(context.Cause(making)) })
	t, err := v.answer(o)
	stop() // from now on the session's end is the viewer's
	if err != nil {
		v.opening.close()
		v.edge.remove(v, send.Stats{})
		return err
	}
	v.register(t)
	v.edge.node.Internal().Answered(time.Since(v.beginning.begun))
	v.admission.Start(t.End)
	if v.stream != nil {
		v.play()
		v.dropContext()
	} else {
		v.work.Go(v.playLater)
	}
	return nil
}

// open waits for the stream until it is ready; see [opening.wait].
func (v *playSession) open(until time.Time) error {
	if err := v.opening.wait(v.ctx, until); err != nil {
		return err
	}
	v.edge.mu.Lock()
	v.stream = v.opening.sub.Stream()
	v.edge.mu.Unlock()
	v.changes.tell()
	return nil
}

// answer makes a session of Delta's own, or a PeerConnection where that is configured or
// the offer needs it. An offer that cannot be answered otherwise waits for the stream.
func (v *playSession) answer(o signal.Offer) (transport, error) {
	e, c := v.edge, v.config(o)
	if !e.config.PeerConnections {
		until := e.answerBy(v.id)
		for {
			if err := v.open(until); err != nil && !errors.Is(err, errNotYet) {
				return nil, err
			}
			t, err := v.answerOwn(c, o)
			switch {
			case err == nil:
				return t, nil
			case !errors.Is(err, cdn.ErrUnsupported):
				return nil, v.opening.failed(err)
			}
			if v.stream != nil {
				e.node.Logger().Info("a viewer gets a PeerConnection", "stream", string(v.id), "why", err)
				break
			}
			until = time.Time{}
		}
	}
	if err := v.open(time.Time{}); err != nil {
		return nil, err
	}
	v.beginning.start(spanConnect)
	t, err := pcsend.Answer(v.ctx, pcsend.Config{
		Config: c, Node: e.node, Stream: v.stream, Connected: v.connected, Ended: v.ended,
	}, o.SDP)
	if err != nil {
		return nil, v.opening.failed(err)
	}
	return t, nil
}

func (v *playSession) config(o signal.Offer) send.Config {
	e := v.edge
	c := send.Config{
		Layer: o.Layer, MaxBitrate: v.maxBitrate, Patience: e.config.SlowPatience, OnAdapt: v.adapted, OnBehind: send.OnBehind{Shed: e.shed, Late: e.node.Internal().Late},
		OnStep: v.beginning.step, OnLayer: v.changes.tell, StartRate: Adapt{}.startRate(), NearAtOnce: true,
		Playout: send.Playout{Repairs: Adapt{}.repairDelay()},
	}
	if f := e.config.Adapt; f != nil || o.Adapt != (signal.Adapt{}) {
		var a Adapt
		if f != nil {
			a = guarded(e.node.Logger(), "Config.Adapt", func() Adapt { return f(v.id) })
		}
		a = a.asked(o.Adapt)
		c.Policy, c.MaxHeight = a.policies(e.node.Logger()), a.MaxHeight
		c.StartRate, c.NearAtOnce = a.startRate(), a.StartBitrate == 0
		c.Playout.Repairs, v.most = a.repairDelay(), a.MaxBitrate
	}
	if f := e.config.Start; f != nil {
		c.Start = guarded(e.node.Logger(), "Config.Start", func() Start { return f(v.id) }).internal()
	}
	if f := e.config.Playout; f != nil {
		c.Playout.Delay = guarded(e.node.Logger(), "Config.Playout", func() *PlayoutDelay { return f(v.id) }).internal()
	}
	return c
}

// answerOwn answers with what the stream has, or, while it is not ready, with all that
// could be.
func (v *playSession) answerOwn(c send.Config, o signal.Offer) (transport, error) {
	v.beginning.start(spanConnect)
	t, err := viewer.Answer(viewer.Config{
		Config: c, Stream: v.stream, Transport: v.edge.node.Internal(), Log: v.edge.node.Internal().PionLog,
		Watch: &v.edge.watch, Proved: v.admission.Proved, Connected: v.beginning.connected, Ended: v.ended,
	}, o.SDP)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// connected is called when media can flow over a PeerConnection.
func (v *playSession) connected() {
	v.admission.Proved()
	v.beginning.connected()
}

// register shows an answered viewer to those who list and end viewers.
func (v *playSession) register(t transport) {
	e := v.edge
	e.mu.Lock()
	defer e.mu.Unlock()
	v.transport = t
	v.count = e.node.Measure(v.measure)
	if e.closed {
		t.End(cdn.ErrClosed)
	}
}

// playLater waits for the stream of a viewer that was answered without it.
func (v *playSession) playLater() {
	defer v.dropContext()
	if err := v.open(time.Time{}); err != nil {
		v.fail(err)
		return
	}
	v.play()
}

// play begins to send the stream.
func (v *playSession) play() {
	err := v.transport.Play(v.stream)
	if errors.Is(err, viewer.ErrNoVideo) {
		v.edge.noteAudioOnly(v.id)
	}
	if err != nil {
		v.fail(v.opening.failed(err))
		return
	}
	v.tellMismatches()
}

// fail ends a viewer that does not get its stream.
func (v *playSession) fail(err error) {
	v.edge.warnOfCodecs(v.id, err)
	v.transport.End(err)
}

// giveUp ends what takes the viewer to its stream.
func (v *playSession) giveUp(err error) {
	v.edge.mu.Lock()
	cancel := v.cancel
	v.edge.mu.Unlock()
	if cancel != nil {
		cancel(err)
	}
}

// dropContext drops the context, which takes as much memory as a track. Nothing needs it
// once the viewer plays or has failed.
func (v *playSession) dropContext() {
	v.edge.mu.Lock()
	defer v.edge.mu.Unlock()
	v.ctx, v.cancel = nil, nil
}

// end begins the viewer's end. One that is not answered yet is refused.
func (v *playSession) end(err error) {
	v.edge.mu.Lock()
	t := v.transport
	v.edge.mu.Unlock()
	v.giveUp(err)
	if t != nil {
		t.End(err)
	}
}

// ended is called when the transport is over.
func (v *playSession) ended(err error, sent send.Stats) {
	v.giveUp(err)
	v.work.Wait()
	v.opening.close()
	v.beginning.over(err)
	v.count()
	v.admission.Leave(err)
	v.edge.remove(v, sent)
}

// measure adds what the viewer was sent.
func (v *playSession) measure(t *cdn.Totals) {
	sent, shed := v.transport.Sent()
	t.Viewers.Sent.Add(sent)
	t.Shed += shed
}
