package link

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
)

const (
	// Media that overtakes the answer to a subscription is kept for as long as the
	// answer may need if it is lost.
	maxEarlyBytes = 4 << 20
	maxEarlyAge   = time.Second
)

// An earlyPacket is a copy of a packet that cannot be written yet.
type earlyPacket struct {
	at   time.Time
	data []byte
}

// unclaimed holds media whose SSRC no answer has named yet, the oldest first.
type unclaimed struct {
	packets []earlyPacket
	size    int // bytes
}

// put keeps a copy of a packet. The oldest make room.
func (u *unclaimed) put(now time.Time, packet []byte) {
	for len(u.packets) > 0 && (now.Sub(u.packets[0].at) > maxEarlyAge || u.size+len(packet) > maxEarlyBytes) {
		u.size -= len(u.packets[0].data)
		u.packets[0].data = nil
		u.packets = u.packets[1:]
	}
	u.packets = append(u.packets, earlyPacket{at: now, data: append([]byte(nil), packet...)})
	u.size += len(packet)
}

// claim removes the packets whose SSRC is known, and returns them.
func (u *unclaimed) claim(known func(ssrc uint32) bool) (claimed []earlyPacket) {
	rest := u.packets[:0]
	for _, p := range u.packets {
		if known(binary.BigEndian.Uint32(p.data[8:])) {
			claimed = append(claimed, p)
			u.size -= len(p.data)
		} else {
			rest = append(rest, p)
		}
	}
	clear(u.packets[len(rest):])
	u.packets = rest
	return claimed
}

// maxQueued bounds the packets that arrive while early media is being written.
const maxQueued = 4096

// A reader opens the media of a subscription. While early media is being written, it
// belongs to [inbound.drain], and the port's reader queues what arrives, so that the
// order stays; otherwise mu guards it.
type reader struct {
	mu       sync.Mutex
	draining bool
	queue    []earlyPacket

	opener *endpoint.Opener
	begun  bool // a packet has come
	packet rtp.Packet
	ext    []cdn.Ext
}

// receive takes a packet. The port's reader calls it.
func (f *inbound) receive(now time.Time, s *source, packet []byte) {
	r := &f.reader
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.draining:
		f.write(now, s, packet, f.link.links.node.Arrivals())
	case len(r.queue) < maxQueued:
		r.queue = append(r.queue, earlyPacket{at: now, data: bytes.Clone(packet)})
	}
}

// drain writes the early packets, and those that are queued meanwhile. It wakes those who
// receive the stream once for all that it has at a time.
func (f *inbound) drain(packets []earlyPacket) {
	var together cdn.Arrivals
	r := &f.reader
	for {
		for _, p := range packets {
			if s := f.link.media.source(p.data); s != nil && s.in == f {
				f.write(p.at, s, p.data, &together)
			}
		}
		together.Flush()
		r.mu.Lock()
		packets, r.queue = r.queue, nil
		r.draining = len(packets) > 0
		r.mu.Unlock()
		if len(packets) == 0 {
			return
		}
	}
}

// open opens a packet of a payload type into r.packet. It overwrites the packet. It is
// false for one that cannot be read, is not authentic, or came before.
func (r *reader) open(packet []byte, pt uint8) bool {
	p := &r.packet
	n, err := p.Header.Unmarshal(packet)
	if err != nil || p.PayloadType != pt {
		return false
	}
	payload, ok := r.opener.Open(packet, n)
	if ok && p.Padding {
		payload, ok = endpoint.Unpadded(payload)
		p.Padding = false
	}
	p.Payload = payload
	return ok
}

// write opens a packet and writes it into the stream.
func (f *inbound) write(now time.Time, s *source, packet []byte, with *cdn.Arrivals) {
	m, r := &f.link.media, &f.reader
	if !r.open(packet, s.pt) {
		m.counts.dropped.Add(1)
		return
	}
	p := &r.packet
	m.received.Add(uint64(len(packet)))
	m.counts.packets.Add(1)
	m.alive(now)
	if s.number != 0 {
		m.arrived(now, s.ssrc, p.GetExtension(s.number))
	}
	s.mu.Lock()
	s.stats.Received(now, p.SequenceNumber, p.Timestamp, 0)
	s.mu.Unlock()
	if s.original != nil { // RFC 4588 section 4
		m.counts.repairs.Add(1)
		if len(p.Payload) < 2 {
			return
		}
		p.SequenceNumber = binary.BigEndian.Uint16(p.Payload)
		p.Payload = p.Payload[2:]
		s = s.original
	}
	f.last.Store(int64(now.Sub(f.begun)))
	if !r.begun {
		r.begun = true
		f.came <- struct{}{}
	}
	r.ext = r.ext[:0]
	for _, id := range s.ids {
		if data := p.GetExtension(id.theirs); data != nil {
			r.ext = append(r.ext, cdn.Ext{ID: id.ours, Data: data})
		}
	}
	with.Write(s.input, now, p, r.ext)
	if f.config.Standby && s.input.Ahead() {
		select {
		case f.ahead <- struct{}{}:
		default:
		}
	}
}
