package link

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/reception"
)

// media is the link's RTP and RTCP. Each subscription opens its packets with a state
// of its own, so that nothing of it is left when it ends; RTCP of both directions goes
// under one SSRC a node.
type media struct {
	link *Link
	ssrc uint32 // of our RTCP: 2 if this node dialled, otherwise 1

	awaiting atomic.Int32 // subscriptions without an answer

	mu      sync.RWMutex
	sources map[uint32]*source
	senders map[uint32]*outbound // whose media has an SSRC
	early   unclaimed
	repeats []laterRequest // the earliest first

	received atomic.Uint64 // bytes of RTP
	arrivals arrivals
	heard    atomic.Int64 // when media or RTCP last came, since the link began
	counts   counts
	reported time.Time // when receiver reports last went out; run's own
}

// A source is one SSRC that the other node sends.
type source struct {
	in    *inbound
	input *cdn.LayerInput
	pt    uint8
	ids   []extensionID
	// number is the other node's id of the extension with transport-wide sequence numbers;
	// 0: there are none.
	number uint8
	// original is the source whose packets an RTX source repeats; nil: it is no RTX
	// source.
	original *source
	ssrc     uint32

	mu    sync.Mutex // guards what follows
	stats reception.Counter
}

type extensionID struct{ theirs, ours uint8 }

const (
	repeatAfter = 10 * time.Millisecond
	maxRepeats  = 64
	reportEvery = 500 * time.Millisecond
)

func (m *media) init(l *Link) {
	m.link, m.ssrc = l, 1
	if l.dialed {
		m.ssrc = 2
	}
	m.sources, m.senders = make(map[uint32]*source), make(map[uint32]*outbound)
}

// theirs returns the SSRC of the other node's RTCP.
func (m *media) theirs() uint32 { return 3 - m.ssrc }

// receiveRTP gives a media packet to its subscription. It keeps nothing of the packet
// unless that is early.
func (m *media) receiveRTP(now time.Time, packet []byte) {
	if len(packet) < 12 {
		return
	}
	s := m.source(packet)
	if s == nil {
		s = m.hold(now, packet)
	}
	if s != nil {
		s.in.receive(now, s, packet)
	}
}

// source returns the source of a packet, nil if it is not known.
func (m *media) source(packet []byte) *source {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.sources[binary.BigEndian.Uint32(packet[8:])]
}

// hold keeps an early packet as long as a subscription is without an answer. It
// returns the packet's source if that has become known.
func (m *media) hold(now time.Time, packet []byte) *source {
	if m.awaiting.Load() == 0 {
		return m.source(packet)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sources[binary.BigEndian.Uint32(packet[8:])]
	if s == nil {
		m.early.put(now, packet)
	}
	return s
}

// add makes the sources of a subscription known, unless that has ended, and has it
// write what has come early.
func (m *media) add(f *inbound, all []*source) {
	m.mu.Lock()
	if f.ended() { // and has removed what was not there yet
		m.mu.Unlock()
		return
	}
	for _, s := range all {
		m.sources[s.ssrc] = s
	}
	early := m.early.claim(func(ssrc uint32) bool { s := m.sources[ssrc]; return s != nil && s.in == f })
	m.mu.Unlock()
	f.drain(early)
}

func (m *media) remove(f *inbound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ssrc, s := range m.sources {
		if s.in == f {
			delete(m.sources, ssrc)
		}
	}
}

// forgetEarly forgets early media that nobody waits for any more.
func (m *media) forgetEarly() {
	if m.awaiting.Load() == 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.early = unclaimed{}
	}
}

// addSenders has feedback about the SSRCs of s given to it, until the function
// returned is called.
func (m *media) addSenders(s *outbound) (remove func()) {
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
		m.link.adaptation.trunk.Forget(all)
	}
}

// alive notes that the other node's media or RTCP came.
func (m *media) alive(now time.Time) { m.heard.Store(int64(now.Sub(m.link.begun))) }

func (m *media) lastHeard() time.Time { return m.link.begun.Add(time.Duration(m.heard.Load())) }
