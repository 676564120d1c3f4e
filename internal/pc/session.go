// Package pc holds what all sessions that are a pion PeerConnection have in
// common: the exchange of descriptions, trickle ICE and ICE restart, deadlines,
// and an orderly end.
package pc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
)

// Config says how a session lives.
type Config struct {
	// ConnectTimeout bounds the time until DTLS is up. If zero, 20 s.
	ConnectTimeout time.Duration
	// Connected is called once, when media can flow. It must not block.
	Connected func()
	// Ended is called once, by the session's goroutine, after the
	// PeerConnection was closed: no callback of it runs any more. kept is
	// whether [Session.Keep] came before.
	Ended func(err error, kept bool)
	// Ending is called once before the PeerConnection is closed, while a last
	// word can still be sent. It must not block for long.
	Ending func(err error)
}

// A Session is a PeerConnection with an owner. Its methods may be called
// concurrently. It has one goroutine, which Close waits for.
type Session struct {
	id     string
	pc     *webrtc.PeerConnection
	config Config
	hangUp func()         // once: closes gone
	gone   chan struct{}  // closed when the peer has hung up, or is lost
	stop   chan struct{}  // closed by End
	done   chan struct{}  // closed when all is over
	wg     sync.WaitGroup // of the goroutines started by Go; run ends with done

	negotiation sync.Mutex // one exchange of descriptions at a time
	answered    bool       // the remote description is there; guarded by negotiation
	candidates  int        // trickled in this ICE session; guarded by negotiation
	restarts    restarts   // of ICE; guarded by negotiation

	mu        sync.Mutex
	err       error
	stopped   bool
	closed    bool // the PeerConnection is
	connected bool
	kept      bool
	sdp       string
}

// New takes pc over: the session closes it.
func New(pc *webrtc.PeerConnection, c Config) *Session {
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 20 * time.Second
	}
	s := &Session{id: rand.Text(), pc: pc, config: c, stop: make(chan struct{}), gone: make(chan struct{}), done: make(chan struct{})}
	s.hangUp = sync.OnceFunc(func() { close(s.gone) })
	pc.OnConnectionStateChange(s.stateChanged)
	go s.run()
	return s
}

// ID is unguessable (128 bits).
func (s *Session) ID() string { return s.id }

// PC returns the PeerConnection, for reading and writing RTCP.
func (s *Session) PC() *webrtc.PeerConnection { return s.pc }

// Done is closed when the session is over and its PeerConnection closed.
func (s *Session) Done() <-chan struct{} { return s.done }

// HungUp is closed when the peer has closed the connection, or is lost.
func (s *Session) HungUp() <-chan struct{} { return s.gone }

// Stopping is closed when the session begins to end.
func (s *Session) Stopping() <-chan struct{} { return s.stop }

// Err returns why the session ends or ended, nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// SDP returns the local description.
func (s *Session) SDP() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sdp
}

// End has the session end for the reason given, and does not wait: it may be
// called from any callback. The first reason stays.
func (s *Session) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.stopped, s.err = true, err
		close(s.stop)
	}
}

// Close ends the session, whose client has said goodbye, and waits for it. It is
// idempotent.
func (s *Session) Close() error {
	s.End(cdn.ErrLeft)
	<-s.done
	return nil
}

// Keep is called when the session is about to be given to who asked for it: from
// then on its end is theirs to hear of. It fails with the reason when the
// session is over already; then it was never theirs.
func (s *Session) Keep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.err
	}
	s.kept = true
	return nil
}

// Go runs f in a goroutine that the session's end waits for. f must return
// soon after the PeerConnection was closed. Once that is so, nothing is started
// any more: pion may still have a callback under way.
func (s *Session) Go(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(f)
	}
}

func (s *Session) stateChanged(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.mu.Lock()
		first := !s.connected
		s.connected = true
		s.mu.Unlock()
		if first && s.config.Connected != nil {
			s.config.Connected()
		}
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		s.hangUp()
		s.End(cdn.ErrPeerLost)
	default: // on the way to one of these
	}
}

func (s *Session) run() {
	timer := time.NewTimer(s.config.ConnectTimeout)
	defer timer.Stop()
	for alive := true; alive; {
		select {
		case <-timer.C:
			s.mu.Lock()
			late := !s.connected
			s.mu.Unlock()
			if late {
				s.End(fmt.Errorf("%w: no connection within %v", cdn.ErrTimeout, s.config.ConnectTimeout))
			}
		case <-s.stop:
			alive = false
		}
	}
	s.finish()
}

// finish closes what the session has.
func (s *Session) finish() {
	if s.config.Ending != nil {
		s.config.Ending(s.Err())
	}
	_ = s.pc.GracefulClose() // the peer may be gone; there is nobody to tell
	s.mu.Lock()
	s.closed = true
	kept := s.kept
	s.mu.Unlock()
	s.wg.Wait()
	if s.config.Ended != nil {
		s.config.Ended(s.Err(), kept)
	}
	close(s.done)
}

// Answer takes the peer's offer and makes ours the answer. fix, if not nil,
// may change the text of the answer that the peer gets.
func (s *Session) Answer(ctx context.Context, offer string, fix func(string) string) error {
	s.negotiation.Lock()
	defer s.negotiation.Unlock()
	if err := s.setRemote(webrtc.SDPTypeOffer, offer); err != nil {
		return err
	}
	return s.describe(ctx, func() (webrtc.SessionDescription, error) { return s.pc.CreateAnswer(nil) }, fix)
}

// Offer makes ours the offer; [Session.Accept] takes the answer.
func (s *Session) Offer(ctx context.Context, fix func(string) string) error {
	s.negotiation.Lock()
	defer s.negotiation.Unlock()
	return s.describe(ctx, func() (webrtc.SessionDescription, error) { return s.pc.CreateOffer(nil) }, fix)
}

// Accept takes the answer to our offer. It can succeed once.
func (s *Session) Accept(_ context.Context, answer string) error {
	s.negotiation.Lock()
	defer s.negotiation.Unlock()
	if s.answered {
		return fmt.Errorf("%w: the offer is answered already", cdn.ErrInvalid)
	}
	return s.setRemote(webrtc.SDPTypeAnswer, answer)
}

func (s *Session) setRemote(typ webrtc.SDPType, text string) error {
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: typ, SDP: text}); err != nil {
		return s.negotiationError(err)
	}
	s.answered = true
	return nil
}

// describe makes the local description. Gathering is reading the list of the
// node's addresses, so it is waited for.
func (s *Session) describe(ctx context.Context, create func() (webrtc.SessionDescription, error), fix func(string) string) error {
	desc, err := create()
	if err != nil {
		return s.negotiationError(err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(desc); err != nil {
		return s.negotiationError(err)
	}
	select {
	case <-gathered:
	case <-s.stop:
		return s.Err()
	case <-ctx.Done():
		return fmt.Errorf("gathering candidates: %w", ctx.Err())
	}
	text := withoutRTCP(s.pc.LocalDescription().SDP)
	if fix != nil {
		text = fix(text)
	}
	s.mu.Lock()
	s.sdp = text
	s.mu.Unlock()
	return nil
}

// negotiationError tells the peer's faults from the session's end.
func (s *Session) negotiationError(err error) error {
	if ended := s.Err(); ended != nil {
		return ended
	}
	if errors.Is(err, webrtc.ErrConnectionClosed) {
		return cdn.ErrClosed
	}
	return fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
}
