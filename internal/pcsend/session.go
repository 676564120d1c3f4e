package pcsend

import (
	"context"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/peer"
	"github.com/deltacdn/delta/internal/slow"
)

// Config says how a stream is sent.
type Config struct {
	Node   *cdn.Node
	Stream *cdn.Stream // ready
	// Layer names the layer that a viewer wants; empty: the best.
	Layer string
	// CatchUp is how old a keyframe may be for a viewer to begin with it and
	// all that followed. If zero, 500 ms.
	CatchUp time.Duration
	// Playout, if not nil, goes out with each video packet.
	Playout *PlayoutDelay
	// Slow bounds what is done about viewers that cannot take the stream.
	Slow slow.Config
	// Expires is when the session ends by itself. Zero: never.
	Expires time.Time
	// Ended is called once, when a session that was returned is over. It must
	// not block.
	Ended func(err error, sent Stats)
	// OnSlow is told of each measure against a slow viewer. It must not block.
	OnSlow func(layer string, paused bool)
}

// PlayoutDelay bounds how long a player may hold frames back. It is a
// suggestion, to the precision of 10 ms and up to 40.95 s.
type PlayoutDelay struct{ Min, Max time.Duration }

// A Session sends a stream to one viewer or node. It is a signal.Session.
type Session struct {
	*peer.Session
	config Config
	node   bool            // the other side is a node
	hungUp <-chan struct{} // the other side has closed the connection

	mu      sync.Mutex
	senders []*sender
	detach  func() // nil until media can flow
	over    bool
}

// Answer starts a session for a viewer's offer.
func Answer(ctx context.Context, c Config, offer string) (*Session, error) {
	plan, err := planAnswer(offer, c.Stream.Tracks())
	if err != nil {
		return nil, err
	}
	reduced, engine, err := plan.offer.Reduce(plan.choices())
	if err != nil {
		return nil, err
	}
	s, pc, err := newSession(c, engine)
	if err != nil {
		return nil, err
	}
	for _, l := range plan.lines {
		layer, err := pick(l.track, c.Layer)
		if err == nil {
			err = s.addViewerLine(pc, l, layer)
		}
		if err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	if err := s.Session.Answer(ctx, reduced, plan.fixAnswer); err != nil {
		_ = s.Close()
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	return s, nil
}

// Invite starts a session for a node: its SDP is the offer, into which fix may
// put what else the node should know.
func Invite(ctx context.Context, c Config, fix func(string) string) (*Session, error) {
	plan, engine, err := planOffer(c.Stream.Tracks())
	if err != nil {
		return nil, err
	}
	s, pc, err := newSession(c, engine)
	if err != nil {
		return nil, err
	}
	s.node = true
	for _, l := range plan.lines {
		if err := s.addNodeLine(pc, l); err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	if err := s.Session.Offer(ctx, fix); err != nil {
		_ = s.Close()
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	return s, nil
}

func newSession(c Config, engine *webrtc.MediaEngine) (*Session, *webrtc.PeerConnection, error) {
	if c.CatchUp <= 0 {
		c.CatchUp = 500 * time.Millisecond
	}
	pc, err := c.Node.NewPeerConnection(cdn.PeerOptions{Media: engine})
	if err != nil {
		return nil, nil, err
	}
	s := &Session{config: c}
	s.Session = peer.New(pc, peer.Config{
		Expires: c.Expires, Connected: s.connected, Ending: s.ending,
		Ended: func(err error, kept bool) {
			if c.Ended != nil && kept {
				c.Ended(err, s.Stats())
			}
		},
	})
	s.hungUp = s.Session.HungUp()
	return s, pc, nil
}

// begin asks for keyframes while the handshake runs, and watches the stream.
func (s *Session) begin() error {
	if err := s.Keep(); err != nil {
		return err
	}
	for _, snd := range s.senders {
		if _, fresh := snd.layer.FromKeyframe(s.config.CatchUp); !fresh && snd.video {
			snd.layer.RequestKeyframe()
		}
	}
	s.Go(func() {
		select {
		case <-s.config.Stream.Done():
			s.End(s.config.Stream.Err())
		case <-s.Stopping():
		}
	})
	return nil
}

func (s *Session) addViewerLine(pc *webrtc.PeerConnection, l *line, layer *cdn.Layer) error {
	snd := newSender(s, l, layer, "")
	rtp, err := pc.AddTrack(snd)
	if err != nil {
		return err
	}
	s.add(snd)
	s.Go(func() { s.readRTCP(snd, rtp.ReadRTCP) })
	return nil
}

func (s *Session) addNodeLine(pc *webrtc.PeerConnection, l *line) error {
	var rtp *webrtc.RTPSender
	for _, layer := range l.layers {
		rid := layer.Name()
		snd := newSender(s, l, layer, rid)
		if rtp == nil {
			t, err := pc.AddTransceiverFromTrack(snd, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
			if err != nil {
				return err
			}
			if err := t.SetCodecPreferences([]webrtc.RTPCodecParameters{snd.parameters()}); err != nil {
				return err
			}
			rtp, l.transceiver = t.Sender(), t
		} else if err := rtp.AddEncoding(snd); err != nil {
			return err
		}
		s.add(snd)
		read := rtp.ReadRTCP
		if rid != "" {
			read = func() ([]rtcp.Packet, attributes, error) { return rtp.ReadSimulcastRTCP(rid) }
		}
		s.Go(func() { s.readRTCP(snd, read) })
	}
	return nil
}

func (s *Session) add(snd *sender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.senders = append(s.senders, snd)
}

// connected is called by pion when media can flow.
func (s *Session) connected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	for _, snd := range s.senders {
		snd.start(s.config.CatchUp)
	}
	s.detach = s.config.Stream.Attach(s)
}

// ending says goodbye while the connection is there.
func (s *Session) ending(err error) {
	s.mu.Lock()
	s.over = true
	detach := s.detach
	var sources []uint32
	for _, snd := range s.senders {
		if snd.out.ssrc != 0 {
			sources = append(sources, snd.out.ssrc)
		}
	}
	s.mu.Unlock()
	if detach == nil {
		return
	}
	detach()
	bye := []rtcp.Packet{&rtcp.Goodbye{Sources: sources, Reason: peer.Reason(err)}}
	if !s.node {
		_ = s.PC().WriteRTCP(bye)
		s.waitHungUp(byeHeadStart)
		return
	}
	// A node acts on the reason, and hangs up when it has it.
	for range byes {
		if s.PC().WriteRTCP(bye) != nil || s.PC().ConnectionState() == webrtc.PeerConnectionStateClosed {
			return
		}
		if s.waitHungUp(byeInterval) {
			return
		}
	}
}

func (s *Session) waitHungUp(atMost time.Duration) bool {
	select {
	case <-s.hungUp:
		return true
	case <-time.After(atMost):
		return false
	}
}

// A goodbye is said to a node until it hangs up, but not for ever: some of
// them may be lost. A viewer hears one, ahead of the DTLS close.
const (
	byes         = 5
	byeInterval  = 100 * time.Millisecond
	byeHeadStart = 20 * time.Millisecond
)

// Consume sends what has come since the last time. A worker of the node calls
// it.
func (s *Session) Consume() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var reports []rtcp.Packet
	for _, snd := range s.senders {
		snd.drain(now)
		reports = snd.appendReport(reports, now)
	}
	if len(reports) > 0 {
		_ = s.PC().WriteRTCP(reports) // the next one is as good
	}
}
