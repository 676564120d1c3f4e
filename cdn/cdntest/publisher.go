package cdntest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"

	"github.com/deltacdn/delta/cdn"
)

// A Publisher sends a synthetic stream in which every packet can be checked:
// [Viewer] does. Its methods may be called concurrently.
type Publisher struct {
	*client

	// Static after NewPublisher.
	config PublisherConfig
	tracks []*sendTrack

	paused  atomic.Bool
	quit    chan struct{}
	once    sync.Once
	stopErr error
	running sync.WaitGroup
}

// Publish starts a publisher, or fails the test. It is stopped when t ends.
func Publish(t testing.TB, c PublisherConfig) *Publisher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), joinTimeout)
	defer cancel()
	p, err := NewPublisher(ctx, c)
	if err != nil {
		t.Fatalf("cdntest: publish %s: %v", c.Stream, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		_ = p.Stop(ctx) // its server may be gone, which is no fault of the test
	})
	return p
}

// joinTimeout bounds how long an offer waits for its answer.
const joinTimeout = 30 * time.Second

// NewPublisher starts a publisher, which the caller must stop. It returns when
// the server has answered; media flows as soon as the connection is made. Its
// error is the Dialer's where the server refused.
func NewPublisher(ctx context.Context, c PublisherConfig) (*Publisher, error) {
	c = c.withDefaults()
	set, err := c.codecs()
	if err != nil {
		return nil, err
	}
	responder, err := nack.NewResponderInterceptor(nack.ResponderSize(1024))
	if err != nil {
		return nil, err
	}
	interceptors := []interceptor.Factory{responder}
	if c.NoRTX {
		interceptors = nil
	}
	cl, err := newClient(c.client(), set, interceptors...)
	if err != nil {
		return nil, err
	}
	p := &Publisher{client: cl, config: c, quit: make(chan struct{})}
	if err := p.start(ctx); err != nil {
		p.end(func() error { return cl.leave(ctx) })
		return nil, err
	}
	return p, nil
}

func (p *Publisher) start(ctx context.Context) error {
	if err := p.addTracks(); err != nil {
		return err
	}
	if err := p.negotiate(ctx, false); err != nil {
		return err
	}
	for _, t := range p.tracks {
		p.running.Go(func() { p.run(t) })
	}
	return nil
}

func (p *Publisher) addTracks() error {
	if v := p.config.Video; v != nil {
		codec, _ := findCodec(v.Codec, v.Fmtp)
		if err := p.addTrack(newVideoTrack(*v, codec, p.config.Seed)); err != nil {
			return err
		}
	}
	if a := p.config.Audio; a != nil {
		return p.addTrack(newAudioTrack(*a, a.codec(), p.config.Seed))
	}
	return nil
}

func (p *Publisher) addTrack(t *sendTrack) error {
	if err := t.addTo(p.pc); err != nil {
		return err
	}
	p.tracks = append(p.tracks, t)
	for _, l := range t.layers {
		p.running.Go(func() { l.readFeedback(t.sender) })
	}
	return nil
}

// run sends t's frames, each at its time, until the publisher ends.
func (p *Publisher) run(t *sendTrack) {
	select {
	case <-p.connected:
	case <-p.quit:
		return
	}
	t.negotiated()
	for start, n := time.Now().Add(t.begins), 0; ; n++ {
		if !p.sleepUntil(start.Add(t.elapsed(n))) {
			return
		}
		if p.paused.Load() {
			t.requireKeyframes()
			continue
		}
		t.sendFrame(n, time.Now())
		if every := p.config.SenderReports; every > 0 {
			t.report(p.pc, n, time.Now(), every)
		}
	}
}

// sleepUntil returns false when the publisher ends. It makes no timer for what is
// due already: Go 1.26 crashes under -race if two goroutines of a bubble find their
// timers expired at one moment.
func (p *Publisher) sleepUntil(at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		select {
		case <-p.quit:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.quit:
		return false
	}
}

// WaitConnected waits until media can flow.
func (p *Publisher) WaitConnected(ctx context.Context) error { return p.waitConnected(ctx) }

// Done is closed when the connection has failed or was closed, by either side.
func (p *Publisher) Done() <-chan struct{} { return p.ended }

// Pause stops the media, and leaves the connection as it is.
func (p *Publisher) Pause() { p.paused.Store(true) }

// Resume undoes [Publisher.Pause]. Video goes on with a keyframe.
func (p *Publisher) Resume() { p.paused.Store(false) }

// PauseLayer stops the video layer of that RID, as an encoder does that has not
// the bandwidth for all.
func (p *Publisher) PauseLayer(rid string) { p.setPaused(rid, true) }

// ResumeLayer undoes [Publisher.PauseLayer]. The layer goes on with a keyframe.
func (p *Publisher) ResumeLayer(rid string) { p.setPaused(rid, false) }

func (p *Publisher) setPaused(rid string, paused bool) {
	for _, t := range p.tracks {
		for _, l := range t.layers {
			if t.kind == cdn.Video && l.RID == rid {
				l.paused.Store(paused)
			}
		}
	}
}

// Stop ends the session as WHIP clients do, with a DELETE, and waits until all
// has ended. ctx bounds the DELETE. It is idempotent.
func (p *Publisher) Stop(ctx context.Context) error {
	p.end(func() error { return p.leave(ctx) })
	return p.stopErr
}

// Kill ends the publisher as a power cut does: not a word is sent.
func (p *Publisher) Kill() {
	p.mute.muted.Store(true)
	p.end(func() error { return nil })
}

// end ends the publisher once; all calls wait for it.
func (p *Publisher) end(leave func() error) {
	p.once.Do(func() {
		close(p.quit)
		p.stopErr = leave()
		if err := p.close(); p.stopErr == nil {
			p.stopErr = err
		}
	})
	p.running.Wait()
}

// Report returns what the publisher did so far.
func (p *Publisher) Report() PublisherReport {
	var r PublisherReport
	for _, t := range p.tracks {
		for _, l := range t.layers {
			if t.kind == cdn.Audio {
				r.Audio = l.report()
			} else {
				r.Video = append(r.Video, l.report())
			}
		}
	}
	return r
}
