// Package pcrecv receives a stream over a PeerConnection into an input of it:
// from a publisher, or from another node that sends one on.
package pcrecv

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc"
	"github.com/deltacdn/delta/internal/receive"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/trouble/reason"
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
	// MaxBitrate is the Max of the session's [receive.Bound]. Nil: there is none.
	MaxBitrate func() (bits int, limit string)
	// Connected is called once, when media can flow. It must not block. Nil:
	// nobody is told.
	Connected func()
	// Ended is called once, when a session that Answer returned is over. It
	// must not block.
	Ended func(err error)
}

// A Session receives a stream. It is a signal.Session, whose SDP is the answer.
type Session struct {
	*pc.Session
	config Config
	plan   *receive.Plan
	codecs *answeredCodecs // of an answer to our offer; nil: they are known
	got    counters

	policing sync.Mutex
	bound    receive.Bound // guarded by policing
}

// counters are of the packets that came, which pion has opened.
type counters struct{ packets, bytes, dropped atomic.Uint64 }

// measure adds what came.
func (s *Session) measure(t *cdn.Totals) {
	to := &t.Publishers
	if s.config.Dial {
		to = &t.Nodes
	}
	to.Received.Add(cdn.Flow{Packets: s.got.packets.Load(), Bytes: s.got.bytes.Load(), Dropped: s.got.dropped.Load()})
}

// Answer starts a session that receives what p planned. The input must be
// started with p.Tracks already; it is closed when the session ends, and on an
// error.
func Answer(ctx context.Context, c Config, p *receive.Plan) (*Session, error) {
	offer, engine, err := p.Offer.Reduce(p.Choices)
	if err != nil {
		return nil, err
	}
	s := &Session{config: c, plan: p, bound: receive.Bound{Max: c.MaxBitrate}}
	if err := s.connect(engine); err != nil {
		return nil, err
	}
	fix := func(sdp string) string { return receive.WriteBound(p.Offer.Restore(sdp, p.Choices), s.bound.Bits()) }
	if err := s.Session.Answer(ctx, offer, fix); err != nil {
		_ = s.Close()
		return nil, err
	}
	if err := s.Keep(); err != nil {
		return nil, err
	}
	s.Go(s.watchInput)
	return s, nil
}

// connect makes the PeerConnection.
func (s *Session) connect(engine *webrtc.MediaEngine) error {
	c := s.config
	registry, err := interceptors()
	if err != nil {
		return err
	}
	conn, err := c.Node.Internal().PeerConnection(service.PeerOptions{Media: engine, Interceptors: registry, Dial: c.Dial, Publisher: !c.Dial})
	if err != nil {
		return err
	}
	count := c.Node.Measure(s.measure)
	s.Session = pc.New(conn, pc.Config{
		Connected: c.Connected,
		Ended: func(err error, kept bool) {
			c.Input.Close(err)
			count()
			if c.Ended != nil && kept {
				c.Ended(err)
			}
		},
	})
	conn.OnTrack(s.onTrack)
	return nil
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

// sent notes that a payload of so many bytes has come, and ends the session if its sender
// keeps sending more than it may.
func (s *Session) sent(now time.Time, bytes int) {
	s.policing.Lock()
	err := s.bound.Sent(now, bytes)
	s.policing.Unlock()
	if err != nil {
		s.End(err)
	}
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
	if s.codecs == nil {
		s.receive(s.plan.Track(s.midOf(receiver)), remote, receiver)
		return
	}
	i := s.codecs.arrived(s.midOf(receiver), uint8(remote.PayloadType()))
	s.Go(func() {
		if s.awaitStart() {
			s.receive(i, remote, receiver)
		}
	})
}

// receive begins to read a layer of track i, -1 for none, whose input was started.
func (s *Session) receive(i int, remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
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

// Packets returns how many packets have come.
func (s *Session) Packets() uint64 { return s.got.packets.Load() }

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
