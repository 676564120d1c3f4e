package pcsend

import (
	"context"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/trouble/reason"
)

// Config says how a stream is sent.
type Config struct {
	send.Config
	Node   *cdn.Node
	Stream *cdn.Stream // ready
	// Connected is called once, when media can flow. It must not block. Nil:
	// nobody is told.
	Connected func()
	// Ended is called once, when a session that was returned is over. It must
	// not block.
	Ended func(err error, sent send.Stats)
}

// A Session sends a stream to one viewer or node. It is a signal.Session.
type Session struct {
	*pc.Session
	config Config
	set    *send.Set
	hungUp <-chan struct{} // the other side has closed the connection
	misses []send.Mismatch // static when Answer returns

	flow flow
}

// A flow is whether media goes out.
type flow struct {
	mu     sync.Mutex
	detach func() // from the stream; nil until media can flow
	over   bool
}

// Answer starts a session for a viewer's offer. Unlike one of package viewer it
// needs to know the stream's tracks: pion takes what is sent when it answers.
func Answer(ctx context.Context, c Config, offer string) (*Session, error) {
	o, err := sdp.Parse(offer)
	if err != nil {
		return nil, err
	}
	plan, err := send.PlanAnswer(o, c.Stream.Tracks())
	if err != nil {
		return nil, err
	}
	reduced, engine, err := plan.Offer.Reduce(plan.Choices)
	if err != nil {
		return nil, err
	}
	s, conn, err := newSession(c, engine, false)
	if err != nil {
		return nil, err
	}
	s.misses = plan.Mismatches
	for i, l := range plan.Lines {
		l.RED = 0 // the reduced offer has none
		layer, err := c.Pick(l.Track)
		if err == nil {
			err = s.addViewerLine(conn, l, plan.Choices[i].Codec, layer)
		}
		if err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	if err := s.Session.Answer(ctx, reduced, func(sdp string) string { return fixAnswer(plan, sdp) }); err != nil {
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
	c.Config.Node = true
	s, conn, err := newSession(c, engine, false)
	if err != nil {
		return nil, err
	}
	for _, l := range plan.lines {
		if err := s.addNodeLine(conn, l); err != nil {
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

func newSession(c Config, engine *webrtc.MediaEngine, dial bool) (*Session, *webrtc.PeerConnection, error) {
	conn, err := c.Node.Internal().PeerConnection(service.PeerOptions{Media: engine, Dial: dial})
	if err != nil {
		return nil, nil, err
	}
	s := &Session{config: c, set: send.New(c.Config)}
	count := func() {}
	if c.Config.Node {
		count = c.Node.Measure(func(t *cdn.Totals) {
			sent, _ := s.Sent()
			t.Nodes.Sent.Add(sent)
		})
	}
	s.Session = pc.New(conn, pc.Config{
		Connected: s.connected, Ending: s.ending,
		Ended: func(err error, kept bool) {
			s.set.Close()
			count()
			if c.Ended != nil && kept {
				c.Ended(err, s.Stats())
			}
		},
	})
	s.hungUp = s.Session.HungUp()
	return s, conn, nil
}

// CatchUp has a node begin as send.StartCatchUp says. It is in time until the
// node's answer is there.
func (s *Session) CatchUp() { s.set.CatchUp() }

// Mismatches returns the tracks of the stream that the viewer wanted and cannot
// take.
func (s *Session) Mismatches() []send.Mismatch { return s.misses }

// Play does nothing: a session plays its stream by itself.
func (s *Session) Play(*cdn.Stream) error { return nil }

// SetLayer has a viewer get another layer than it asked for: see [send.Set.SetLayer].
func (s *Session) SetLayer(name string) error { return s.set.SetLayer(name) }

// BoundChanged has the layer chosen anew: see [send.Set.BoundChanged].
func (s *Session) BoundChanged() { s.set.BoundChanged() }

// Stats returns a snapshot.
func (s *Session) Stats() send.Stats { return s.set.Stats() }

// Sent returns what was sent: see [send.Set.Sent].
func (s *Session) Sent() (sent cdn.Flow, shed uint64) { return s.set.Sent() }

// begin asks for keyframes while the handshake runs, and watches the stream.
func (s *Session) begin() error {
	if err := s.Keep(); err != nil {
		return err
	}
	s.set.Warm()
	s.Go(func() {
		select {
		case <-s.config.Stream.Done():
			s.End(s.config.Stream.Err())
		case <-s.Stopping():
		}
	})
	return nil
}

func (s *Session) addViewerLine(conn *webrtc.PeerConnection, l *send.Line, c sdp.Codec, layer *cdn.Layer) error {
	t := &track{sender: s.set.Add(l, layer, ""), line: l, codec: c}
	rtp, err := conn.AddTrack(t)
	if err != nil {
		return err
	}
	s.Go(func() { s.readRTCP(t, rtp.Read) })
	return nil
}

func (s *Session) addNodeLine(conn *webrtc.PeerConnection, l *offerLine) error {
	var transceiver *webrtc.RTPTransceiver
	for _, layer := range l.layers {
		rid := layer.Name()
		t := &track{sender: s.set.Add(&l.Line, layer, rid), line: &l.Line, codec: l.codec, rid: rid, transceiver: transceiver}
		if transceiver == nil {
			var err error
			transceiver, err = conn.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
			if err != nil {
				return err
			}
			t.transceiver = transceiver
			if err := transceiver.SetCodecPreferences([]webrtc.RTPCodecParameters{t.parameters()}); err != nil {
				return err
			}
		} else if err := transceiver.Sender().AddEncoding(t); err != nil {
			return err
		}
		rtp := transceiver.Sender()
		read := rtp.Read
		if rid != "" {
			read = func(b []byte) (int, interceptor.Attributes, error) { return rtp.ReadSimulcast(b, rid) }
		}
		s.Go(func() { s.readRTCP(t, read) })
	}
	return nil
}

// maxRTCP is the size of the buffer for a compound packet.
const maxRTCP = 1500

// readRTCP handles the other side's feedback about one RTP stream.
func (s *Session) readRTCP(t *track, read func([]byte) (int, interceptor.Attributes, error)) {
	compound := make([]byte, maxRTCP)
	for {
		n, _, err := read(compound)
		if err != nil {
			return
		}
		outcome := t.sender.HandleRTCP(time.Now(), compound[:n])
		if outcome.TooSlow {
			s.End(cdn.ErrTooSlow)
		}
		if ssrcs := s.set.Sources(); outcome.Question.Kind != 0 && len(ssrcs) > 0 {
			// A question in the reports of both streams is answered twice.
			_ = s.PC().WriteRTCP(send.AnswerTime(ssrcs[0], outcome.Question))
		}
	}
}

// connected is called by pion when media can flow.
func (s *Session) connected() {
	if s.config.Connected != nil {
		s.config.Connected()
	}
	s.flow.mu.Lock()
	defer s.flow.mu.Unlock()
	if s.flow.over {
		return
	}
	s.set.Start()
	s.flow.detach = s.config.Stream.Attach(s)
}

// ending says goodbye while the connection is there.
func (s *Session) ending(err error) {
	s.flow.mu.Lock()
	s.flow.over = true
	detach := s.flow.detach
	s.flow.mu.Unlock()
	if detach == nil {
		return
	}
	detach()
	bye := []rtcp.Packet{&rtcp.Goodbye{Sources: s.set.Sources(), Reason: reason.Word(err)}}
	if !s.config.Config.Node {
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

// ServeBy implements [service.Timed].
func (s *Session) ServeBy(serveAt func(time.Time)) {
	if !s.config.Config.Node {
		s.set.ServeBy(serveAt)
	}
}

var _ service.Timed = (*Session)(nil)

// Consume sends what has come since the last time. A worker of the node calls
// it.
func (s *Session) Consume() {
	reports := s.set.Consume(time.Now(), nil)
	if len(reports) == 0 {
		return
	}
	_ = s.PC().WriteRTCP(reports) // the next one is as good
	if s.set.Outgrown() {         // as often is often enough
		s.End(send.ErrOutgrown)
	}
}
