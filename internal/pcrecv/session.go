// Package pcrecv receives a stream over a PeerConnection into an input of it:
// from a publisher, or from another node that sends one on.
package pcrecv

import (
	"context"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/peer"
	"github.com/deltacdn/delta/internal/reason"
	"github.com/deltacdn/delta/internal/receive"
)

// Config says how a stream is received.
type Config struct {
	Node  *cdn.Node
	Input *cdn.Input // closed when the session ends
	// Dial: we came to the sender, and not it to us.
	Dial bool
	// ByeEnds: an RTCP BYE with a reason ends the stream, as nodes tell each
	// other. A publisher's BYE is about one SSRC.
	ByeEnds bool
	// Expires is when the session ends by itself. Zero: never.
	Expires time.Time
	// Connected is called once, when media can flow. It must not block. Nil:
	// nobody is told.
	Connected func()
	// Ended is called once, when a session that Answer returned is over. It
	// must not block.
	Ended func(err error)
}

// A Session receives a stream. It is a signal.Session, whose SDP is the answer.
type Session struct {
	*peer.Session
	config Config
	plan   *receive.Plan
}

// Answer starts a session that receives what p planned. The input must be
// started with p.Tracks already; it is closed when the session ends, and on an
// error.
func Answer(ctx context.Context, c Config, p *receive.Plan) (*Session, error) {
	offer, engine, err := p.Offer.Reduce(p.Choices)
	if err != nil {
		return nil, err
	}
	registry, err := interceptors()
	if err != nil {
		return nil, err
	}
	pc, err := c.Node.NewPeerConnection(cdn.PeerOptions{Media: engine, Interceptors: registry, Dial: c.Dial})
	if err != nil {
		return nil, err
	}
	s := &Session{config: c, plan: p}
	s.Session = peer.New(pc, peer.Config{
		Expires: c.Expires, Connected: c.Connected,
		Ended: func(err error, kept bool) {
			c.Input.Close(err)
			if c.Ended != nil && kept {
				c.Ended(err)
			}
		},
	})
	pc.OnTrack(s.onTrack)
	if err := s.Session.Answer(ctx, offer, func(sdp string) string { return p.Offer.Restore(sdp, p.Choices) }); err != nil {
		_ = s.Close()
		return nil, err
	}
	if err := s.Keep(); err != nil {
		return nil, err
	}
	s.Go(s.watchInput)
	return s, nil
}

// interceptors are those that a receiver's feedback needs: receiver reports
// and transport-wide congestion control. NACKs are the input's.
func interceptors() (*interceptor.Registry, error) {
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, err
	}
	congestion, err := twcc.NewSenderInterceptor(twcc.SendInterval(50 * time.Millisecond))
	if err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	registry.Add(reports)
	registry.Add(congestion)
	return registry, nil
}

// watchInput ends the session when its media is not wanted any more.
func (s *Session) watchInput() {
	select {
	case <-s.config.Input.Done():
		s.End(s.config.Input.Err())
	case <-s.Stopping():
	}
}

// onTrack is called by pion for each layer as its first packet comes.
func (s *Session) onTrack(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	i := s.plan.Track(s.midOf(receiver))
	if i < 0 {
		return
	}
	back := &back{pc: s.PC(), ssrc: uint32(remote.SSRC()), fir: s.onlyFIR(i)}
	li, err := s.config.Input.Layer(i, remote.RID(), back)
	if err != nil {
		s.config.Node.Logger().Warn("a layer is not received", "rid", remote.RID(), "err", err)
		return
	}
	l := &layer{session: s, remote: remote, input: li, choice: &s.plan.Choices[i]}
	s.Go(l.readRTP)
	s.Go(func() { l.readRTCP(receiver) })
}

func (s *Session) midOf(receiver *webrtc.RTPReceiver) string {
	for _, t := range s.PC().GetTransceivers() {
		if t.Receiver() == receiver {
			return t.Mid()
		}
	}
	return ""
}

// Answers returns how many answers to our ICE checks have come, which go out each
// second whether or not media comes.
func (s *Session) Answers() uint64 {
	for _, t := range s.PC().GetTransceivers() {
		if dtls := t.Receiver().Transport(); dtls != nil {
			if pair, ok := dtls.ICETransport().GetSelectedCandidatePairStats(); ok {
				return pair.ResponsesReceived
			}
		}
	}
	return 0
}

// bye ends the session for the reason that a sending node gave.
func (s *Session) bye(b *rtcp.Goodbye) {
	if s.config.ByeEnds && b.Reason != "" {
		s.End(reason.Error(b.Reason))
	}
}
