package link

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
)

// media is the link's SRTP. Each subscription has contexts of its own, made of
// the link's keys, so that nothing of it is left when it ends; RTCP of both
// directions goes by one, under one SSRC.
type media struct {
	link *Link

	// set when the link comes up
	keys dtlssrtp.Keys
	out  *dtlssrtp.Sealer // of RTCP
	ssrc uint32           // of our RTCP

	mu      sync.RWMutex
	in      *dtlssrtp.Opener // of RTCP; the port's reader alone uses it
	sources map[uint32]*source
	senders map[uint32]*serving // whose media has an SSRC
	held    []heldPacket        // media that overtook what says what it is
	heldLen int
	repeats []laterRequest // the earliest first

	received, sent atomic.Uint64 // bytes of RTP
	reported       time.Time     // run's own: when receiver reports last went out
}

// A source is one SSRC that the other node sends.
type source struct {
	fetch *fetching
	input *cdn.LayerInput
	pt    uint8
	ids   []extensionID
	// original is whose packets an RTX source repeats; nil: it is no such.
	original *source
	ssrc     uint32
	stats    reception
}

type extensionID struct{ theirs, ours uint8 }

type heldPacket struct {
	at   time.Time
	data []byte
}

const (
	repeatAfter = 10 * time.Millisecond
	maxRepeats  = 64
	// What overtakes the answer to a subscription is kept for as long as the
	// answer may need, were it lost.
	maxHeldBytes = 4 << 20
	maxHeldAge   = time.Second
	reportEvery  = 500 * time.Millisecond
	// replayWindow is how far behind the newest packet one may be.
	replayWindow = 2048
)

func (m *media) init(l *Link) {
	m.link = l
	m.sources, m.senders = make(map[uint32]*source), make(map[uint32]*serving)
}

// start makes the contexts of RTCP.
func (m *media) start(keys dtlssrtp.Keys) error {
	in, err := keys.Opener(1)
	if err != nil {
		return err
	}
	out, err := keys.Sealer()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys, m.out, m.in = keys, out, in
	m.ssrc = 1
	if m.link.dialed {
		m.ssrc = 2
	}
	return nil
}

// receiveRTP takes a media packet to where it belongs. It keeps nothing of it,
// unless it is early.
func (m *media) receiveRTP(now time.Time, packet []byte) {
	if len(packet) < 12 {
		return
	}
	ssrc := binary.BigEndian.Uint32(packet[8:])
	m.mu.RLock()
	s := m.sources[ssrc]
	m.mu.RUnlock()
	if s == nil {
		s = m.hold(now, packet) // it may overtake the end of the handshake, too
	}
	if s != nil {
		m.take(now, s, packet, m.link.links.transport.Arrivals)
	}
}

// hold keeps an early packet, as long as anything was asked for that has not
// been answered; or returns its source, if that has become known.
func (m *media) hold(now time.Time, packet []byte) *source {
	awaits := m.link.awaits()
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sources[binary.BigEndian.Uint32(packet[8:])]; s != nil || !awaits {
		return s
	}
	for len(m.held) > 0 && (now.Sub(m.held[0].at) > maxHeldAge || m.heldLen+len(packet) > maxHeldBytes) {
		m.heldLen -= len(m.held[0].data)
		m.held[0].data = nil
		m.held = m.held[1:]
	}
	m.held = append(m.held, heldPacket{at: now, data: append([]byte(nil), packet...)})
	m.heldLen += len(packet)
	return nil
}

// take opens a packet and writes it into the stream. One goroutine at a
// time calls it for the sources of a subscription.
func (m *media) take(now time.Time, s *source, packet []byte, with *cdn.Arrivals) {
	f := s.fetch
	f.reading.Lock()
	defer f.reading.Unlock()
	plain, err := f.in.DecryptRTP(f.plain[:0], packet, &f.header)
	if err != nil {
		return // forged, or twice
	}
	f.plain = plain
	p := &f.packet
	if err := p.Unmarshal(plain); err != nil || p.PayloadType != s.pt {
		return
	}
	m.received.Add(uint64(len(packet)))
	m.link.heard.Store(int64(now.Sub(m.link.begun)))
	s.stats.received(p.SequenceNumber)
	if s.original != nil { // RFC 4588 section 4
		if len(p.Payload) < 2 {
			return
		}
		p.SequenceNumber = binary.BigEndian.Uint16(p.Payload)
		p.Payload = p.Payload[2:]
		s = s.original
	}
	f.last.Store(int64(now.Sub(f.begun)))
	f.ext = f.ext[:0]
	for _, id := range s.ids {
		if data := p.GetExtension(id.theirs); data != nil {
			f.ext = append(f.ext, cdn.Ext{ID: id.ours, Data: data})
		}
	}
	with.Write(s.input, now, p, f.ext)
	if f.config.Standby && s.input.Ahead() {
		select {
		case f.ahead <- struct{}{}:
		default:
		}
	}
}

// add makes sources known, and takes what came for them already.
func (m *media) add(all []*source) {
	known := make(map[uint32]*source, len(all))
	for _, s := range all {
		known[s.ssrc] = s
	}
	// What has come early is taken first, and what comes meanwhile is held too,
	// so that the order stays.
	for {
		m.mu.Lock()
		var early []heldPacket
		rest := m.held[:0]
		for _, h := range m.held {
			if known[binary.BigEndian.Uint32(h.data[8:])] != nil {
				early = append(early, h)
				m.heldLen -= len(h.data)
			} else {
				rest = append(rest, h)
			}
		}
		clear(m.held[len(rest):])
		m.held = rest
		if len(early) == 0 {
			if len(all) > 0 && all[0].fetch.ended() { // and has removed what was not there yet
				m.mu.Unlock()
				return
			}
			for ssrc, s := range known {
				m.sources[ssrc] = s
			}
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		for _, h := range early {
			m.take(h.at, known[binary.BigEndian.Uint32(h.data[8:])], h.data, nil)
		}
	}
}

// addSenders has feedback about the SSRCs of s given to it, until the function
// returned is called.
func (m *media) addSenders(s *serving) (remove func()) {
	all := s.set.Sources()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ssrc := range all {
		m.senders[ssrc] = s
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, ssrc := range all {
			delete(m.senders, ssrc)
		}
	}
}

func (m *media) remove(f *fetching) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ssrc, s := range m.sources {
		if s.fetch == f {
			delete(m.sources, ssrc)
		}
	}
}
