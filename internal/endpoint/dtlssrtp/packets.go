package dtlssrtp

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"encoding/binary"

	"github.com/pion/srtp/v3"
)

// replayWindow is how many packets behind the newest of its SSRC one may be. A
// repair that does not come by RTX has its old number.
const replayWindow = 2048

// A PacketOpener opens the other side's SRTP in place, without allocation. One
// goroutine at a time uses it.
type PacketOpener struct {
	packets packetDecipher
	sources map[uint32]*received
	last    *received // of the packet before, which mostly is the same
	most    int
	opened  uint64 // packets
	gcm     gcm    // packets, mostly
}

// A packetDecipher opens RTP packets. One goroutine at a time uses it.
type packetDecipher interface {
	// open opens what follows a packet's header, in place, and returns it; false: it
	// is not authentic.
	open(packet []byte, header int, ssrc uint32, index uint64) (payload []byte, ok bool)
}

// PacketOpener returns a new one, which keeps the state of so many SSRCs: those
// heard last.
func (k Keys) PacketOpener(sources int) (*PacketOpener, error) {
	return NewPacketOpener(k.profile, k.keys.RemoteMasterKey, k.keys.RemoteMasterSalt, sources)
}

// NewPacketOpener returns a PacketOpener with the keys given.
func NewPacketOpener(profile srtp.ProtectionProfile, key, salt []byte, sources int) (*PacketOpener, error) {
	o := &PacketOpener{sources: make(map[uint32]*received), most: sources}
	if profile == srtp.ProtectionProfileAes128CmHmacSha1_80 {
		c, err := newCounterMode(key, salt)
		if err != nil {
			return nil, err
		}
		o.packets = &counterModeOpener{counterMode: c}
		return o, nil
	}
	o.packets = &o.gcm
	return o, o.gcm.init(key, salt, labelEncryption, labelSalt)
}

// Open returns the payload of a packet, padding included, in place of the sealed
// one. header is the length of the packet's header with its extensions, and at least
// 12. It is false for what is not authentic, came before, or is too old (RFC 3711
// section 3.3).
func (o *PacketOpener) Open(packet []byte, header int) (payload []byte, ok bool) {
	if header < 12 || header > len(packet) {
		return nil, false
	}
	seq, ssrc := binary.BigEndian.Uint16(packet[2:]), binary.BigEndian.Uint32(packet[8:])
	s := o.source(ssrc)
	index := uint64(seq)
	if s != nil {
		if index = s.guess(seq); !s.takes(index) {
			return nil, false
		}
	}
	var again []byte // GCM wipes what it does not open
	if s == nil && seq < 1<<15 {
		again = bytes.Clone(packet[header:])
	}
	if payload, ok = o.packets.open(packet, header, ssrc, index); !ok && again != nil {
		// What the sender began with, ahead of its first rollover, may be lost.
		copy(packet[header:], again)
		index |= 1 << 16
		payload, ok = o.packets.open(packet, header, ssrc, index)
	}
	if !ok {
		return nil, false
	}
	if s == nil {
		s = o.add(ssrc, index)
	}
	o.opened++
	s.heard = o.opened
	s.take(index)
	o.last = s
	return payload, true
}

// source returns what is known of an SSRC, nil: nothing.
func (o *PacketOpener) source(ssrc uint32) *received {
	if o.last != nil && o.last.ssrc == ssrc {
		return o.last
	}
	return o.sources[ssrc]
}

// add makes an SSRC known, of which an authentic packet has come. The one that was
// silent for longest makes room.
func (o *PacketOpener) add(ssrc uint32, index uint64) *received {
	if len(o.sources) >= o.most {
		var oldest *received
		for _, s := range o.sources {
			if oldest == nil || s.heard < oldest.heard {
				oldest = s
			}
		}
		delete(o.sources, oldest.ssrc)
	}
	s := &received{ssrc: ssrc, highest: index}
	o.sources[ssrc] = s
	return s
}

// A received is which of an SSRC's packets have come (RFC 3711 section 3.3.2).
type received struct {
	ssrc    uint32
	highest uint64 // index: the sequence number with the count of its rollovers ahead
	heard   uint64 // when, in packets
	seen    [replayWindow / 64]uint64
}

// guess returns the index of a sequence number: the one nearest to the highest
// (RFC 3711 section 3.3.1 and appendix A).
func (r *received) guess(seq uint16) uint64 {
	s := source{started: true, highest: r.highest}
	return s.index(seq)
}

// takes reports whether a packet is new, and not too old.
func (r *received) takes(index uint64) bool {
	switch {
	case index > r.highest:
		return true
	case r.highest-index >= replayWindow:
		return false
	}
	return r.seen[index/64%uint64(len(r.seen))]>>(index%64)&1 == 0
}

// take notes that a packet has come, which was new.
func (r *received) take(index uint64) {
	if index > r.highest {
		if index-r.highest >= replayWindow {
			r.seen = [len(r.seen)]uint64{}
		} else {
			for i := r.highest + 1; i < index; i++ {
				r.seen[i/64%uint64(len(r.seen))] &^= 1 << (i % 64)
			}
		}
		r.highest = index
	}
	r.seen[index/64%uint64(len(r.seen))] |= 1 << (index % 64)
}

func (g *gcm) open(packet []byte, header int, ssrc uint32, index uint64) (payload []byte, ok bool) {
	sealed := packet[header:]
	if len(sealed) < g.overhead() {
		return nil, false
	}
	g.iv(ssrc, index)
	payload, err := g.aead.Open(sealed[:0], g.nonce[:], sealed, packet[:header])
	return payload, err == nil
}

// A counterModeOpener is counterMode for the other way.
type counterModeOpener struct {
	*counterMode
	stream []byte // key stream
}

func (c *counterModeOpener) open(packet []byte, header int, ssrc uint32, index uint64) (payload []byte, ok bool) {
	end := len(packet) - tagSize
	if end < header {
		return nil, false
	}
	c.mac.Reset()
	_, _ = c.mac.Write(packet[:end])
	binary.BigEndian.PutUint32(c.counter[:], uint32(index>>16))
	_, _ = c.mac.Write(c.counter[:4])
	if !hmac.Equal(c.mac.Sum(c.sum[:0])[:tagSize], packet[end:]) {
		return nil, false
	}
	payload = packet[header:end]
	if need := len(payload) + aes.BlockSize; cap(c.stream) < need {
		c.stream = make([]byte, max(need, 2048))
	}
	stream := c.stream[:cap(c.stream)]
	c.encrypt(stream, ssrc, index, payload)
	copy(payload, stream)
	return payload, true
}
