package receive

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/service"
)

// Config says how a stream is received.
type Config struct {
	// Input is where the media goes. It has been started with the plan's tracks, and
	// is closed when the session ends.
	Input     *cdn.Input
	Transport *service.Runtime
	// Arrivals are flushed by the port's reader when it has read what there was. If nil,
	// each packet is passed on by itself.
	Arrivals *cdn.Arrivals
	Log      *slog.Logger
	PionLog  logging.LoggerFactory
	// Watch and Clock are those of all sessions of a service. If nil, the session has
	// its own.
	Watch *endpoint.Watch
	Clock *Clock
	// Proved is called when the publisher has proved its address, perhaps more than
	// once, with the session's lock held. Nil: nobody is told.
	Proved func()
	// MaxBitrate is the Max of the session's [Bound]. Nil: there is none.
	MaxBitrate func() (bits int, limit string)
	// Uplink is told each second what is seen of the publisher's path, while media comes,
	// and whether it has become narrow, or has recovered, since. One call is made at a
	// time, and none once Ended is called. Clock makes them, and looks at no session until
	// they return: it must not block, nor call the session or anybody who may. Nil: nobody
	// is told.
	Uplink func(path cdn.Uplink, changed bool)
	// Ended is called once, when a session that was returned is over. It must not
	// block.
	Ended func(err error, received Stats)
}

// A Session receives a stream from one publisher. It is a signal.Session, whose SDP
// is the answer. Its methods may be called concurrently.
type Session struct {
	endpoint.Endpoint
	receiver *receiver
	config   Config // static
	over     atomic.Bool
	heard    atomic.Int64 // when a packet last came, Unix nanoseconds

	warned [drops]time.Time // by reason; guarded by the receiver's mu
}

// Answer starts a session that receives what p planned. Errors wrap
// [cdn.ErrUnsupported] for an offer that only a PeerConnection can answer, and
// [cdn.ErrInvalid]; then the input is the caller's still.
func Answer(c Config, p *Plan) (*Session, error) {
	if c.Clock == nil {
		c.Clock = &Clock{}
	}
	remote, err := readRemote(p)
	if err != nil {
		return nil, err
	}
	s := &Session{config: c, receiver: newReceiver(c.Input, p)}
	s.Init(endpoint.Config{
		Transport: c.Transport, Log: c.PionLog, Watch: c.Watch, Proved: c.Proved,
		Idle: s.idle, Remote: remote, Role: endpoint.Role{Client: remote.Passive, Receives: true},
	}, s)
	r := s.receiver
	r.warn = s.warn
	r.back = func(of *source) cdn.Upstream { return &back{session: s, ssrc: of.ssrc, section: of.section} }
	r.feedback.reduced = reducedSize(p)
	r.bound.Max = c.MaxBitrate
	r.feedback.transport, r.feedback.remb = congestionControl(p, r.bound.Bits() > 0)
	r.feedback.max = r.bound.Bits
	r.feedback.init(time.Now(), newSSRC(), rand.Text()[:16])
	local, err := s.Open()
	if err != nil {
		return nil, err
	}
	s.Begin(WriteBound(answer(p, local, r.feedback.remb, r.feedback.ssrc), r.bound.Bits()), s.words)
	c.Input.AfterDone(s.End)
	return s, nil
}

// words is the answer's session number. No other answer has it.
func (s *Session) words() []string {
	return []string{strconv.FormatUint(uint64(s.receiver.feedback.ssrc), 10)}
}

func newSSRC() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return binary.BigEndian.Uint32(b[:]) | 1
}

// Stats returns a snapshot.
func (s *Session) Stats() Stats {
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	return s.receiver.stats
}

// Connected implements [endpoint.Owner].
func (s *Session) Connected() error {
	opener, err := s.NewOpener(4 * maxSources)
	if err != nil {
		return fmt.Errorf("%w: %w", cdn.ErrPeerLost, err) // the keys are as long as their profile says
	}
	s.receiver.mu.Lock()
	s.receiver.opener = opener
	s.receiver.mu.Unlock()
	s.config.Clock.add(s)
	if s.over.Load() {
		s.config.Clock.remove(s)
	}
	return nil
}

// RTP implements [endpoint.Owner]: the port's reader writes the packet into the ring.
func (s *Session) RTP(now time.Time, packet []byte) (authentic bool) {
	r := s.receiver
	r.mu.Lock()
	if r.opener == nil || s.over.Load() {
		r.mu.Unlock()
		return false
	}
	authentic = r.rtp(now, packet, s.config.Arrivals)
	over := r.over
	s.heard.Store(now.UnixNano())
	if compound := r.feedback.transportDue(now, nil); compound != nil {
		s.ReplyRTCP(compound) // with the lock, since the next one uses its memory
	}
	r.mu.Unlock()
	if over != nil {
		s.End(over)
	}
	return authentic
}

// RTCP implements [endpoint.Owner].
func (s *Session) RTCP(now time.Time, compound []byte, _ netip.AddrPort) {
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	if !s.over.Load() {
		s.receiver.rtcp(now, compound)
	}
}

// idleAfter is how long nothing has to come until that is no pause between two
// packets.
const idleAfter = time.Second

// idle reports whether the publisher sends no media.
func (s *Session) idle(now time.Time) bool {
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	return now.Sub(s.receiver.feedback.last) > idleAfter
}

// Ending implements [endpoint.Owner]. There is no BYE: that is for those who send.
func (s *Session) Ending(err error) (goodbye []byte, ended func()) {
	s.over.Store(true)
	s.config.Clock.remove(s)
	s.receiver.mu.Lock()
	s.receiver.strays = nil
	s.receiver.mu.Unlock()
	s.config.Input.Close(err)
	return nil, func() {
		if s.config.Ended != nil {
			s.config.Ended(err, s.Stats())
		}
	}
}

// doneAfter is how long after the last packet nothing is due any more: all that waited
// has been decided on, and no source is reported on.
const doneAfter = max(reportedFor, maxHeldFor) + 2*reportEvery

// tick does what is due though no packet comes. It returns what is to be told of the
// publisher's path, nil: nothing. A [Clock] calls it.
func (s *Session) tick(now time.Time) (tell func()) {
	if now.UnixNano()-s.heard.Load() > int64(doneAfter) {
		return nil // what is silent costs a look
	}
	r := s.receiver
	r.mu.Lock()
	r.endContests(now, nil)
	reports := r.feedback.compound(r.feedback.reportDue(now, r.sources)...)
	if compound := r.feedback.transportDue(now, reports); compound != nil {
		s.SendRTCP(compound) // with the lock, since the next one uses its memory
	}
	path, changed, due := r.look(now)
	r.mu.Unlock()
	if !due || s.config.Uplink == nil {
		return nil
	}
	return func() { s.config.Uplink(path, changed) }
}

// warnEvery is how often a session warns of packets that are not taken.
const warnEvery = time.Minute

// warn warns of a packet that is not taken: of the first one, and then seldom.
func (s *Session) warn(reason Drop, ssrc uint32, pt uint8) {
	now := time.Now()
	if s.config.Log == nil || now.Sub(s.warned[reason]) < warnEvery {
		return
	}
	s.warned[reason] = now
	s.config.Log.Warn("packets of a publisher are dropped", "why", reason.String(), "ssrc", ssrc, "payload_type", pt,
		"dropped", s.receiver.stats.Dropped[reason])
}

// back asks the sender of one SSRC.
type back struct {
	session *Session
	ssrc    uint32
	section *section // as it was
	seq     uint8    // of the last FIR
}

// RequestKeyframe implements [cdn.Upstream].
func (b *back) RequestKeyframe() {
	f := &b.session.receiver.feedback
	if b.section.fir {
		b.seq++
		b.send(&rtcp.FullIntraRequest{
			SenderSSRC: f.ssrc, MediaSSRC: b.ssrc, FIR: []rtcp.FIREntry{{SSRC: b.ssrc, SequenceNumber: b.seq}},
		})
		return
	}
	b.send(&rtcp.PictureLossIndication{SenderSSRC: f.ssrc, MediaSSRC: b.ssrc})
}

// maxPairs keeps a NACK below the MTU: a pair has four bytes.
const maxPairs = 250

// Nack implements [cdn.Upstream].
func (b *back) Nack(seqs []uint16) {
	if !b.section.nack {
		return
	}
	slices.Sort(seqs)
	for pairs := range slices.Chunk(rtcp.NackPairsFromSequenceNumbers(seqs), maxPairs) {
		b.send(&rtcp.TransportLayerNack{SenderSSRC: b.session.receiver.feedback.ssrc, MediaSSRC: b.ssrc, Nacks: pairs})
	}
}

func (b *back) send(p rtcp.Packet) {
	b.session.SendRTCP(b.session.receiver.feedback.compound(p)) // lost, it is repeated
}
