package cdntest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

// A body is what every packet of a [Publisher] carries behind its codec's
// headers: enough for a viewer to make the very same packet again, and so to
// see whether any byte of it was changed on the way.
type body struct {
	seed          uint32 // of the publisher: tells apart what two of them send
	layer         uint8  // index in Video.Layers
	key           bool   // the frame is a keyframe
	width, height uint16
	frame         uint32 // number of the frame in its track, the same in all layers
	index, count  uint16 // of the packet in its frame
	sent          int64  // UnixNano of the publisher's clock
	temporal      temporal
}

// bodyMagic begins each body. No codec header contains it.
const bodyMagic = "\xD1Lt\xA5"

// bodySize is the size of a body without filler.
const bodySize = 34

// append appends the body to p, with filler, so that the whole is size bytes
// long; or longer, where that leaves no room for the body.
func (b body) append(p []byte, size int) []byte {
	p = append(p, bodyMagic...)
	p = append(p, b.layer, b.flags())
	p = binary.BigEndian.AppendUint16(p, b.width)
	p = binary.BigEndian.AppendUint16(p, b.height)
	p = binary.BigEndian.AppendUint16(p, b.index)
	p = binary.BigEndian.AppendUint16(p, b.count)
	p = binary.BigEndian.AppendUint32(p, b.seed)
	p = binary.BigEndian.AppendUint32(p, b.frame)
	p = binary.BigEndian.AppendUint64(p, uint64(b.sent))
	p = binary.BigEndian.AppendUint32(p, b.check())
	return b.fill(p, size)
}

// check ties a body's fields together, lest a damaged one is taken for another.
func (b body) check() uint32 { return uint32(b.mix() >> 32) }

// fill appends pseudo-random bytes until p is size bytes long.
func (b body) fill(p []byte, size int) []byte {
	from := len(p)
	if from >= size {
		return p
	}
	p = slices.Grow(p, size-from)[:size]
	x, rest := b.mix(), p[from:]
	for ; len(rest) >= 8; rest = rest[8:] {
		x += step
		binary.LittleEndian.PutUint64(rest, scatter(x))
	}
	var last [8]byte
	binary.LittleEndian.PutUint64(last[:], scatter(x+step))
	copy(rest, last[:])
	return p
}

// step is odd, so that its multiples are all different: 2^64 by the golden ratio.
const step = 0x9E3779B97F4A7C15

// scatter makes numbers that are a step apart look like chance: good enough to be told
// from anything else, and a viewer computes many at once.
func scatter(x uint64) uint64 {
	x *= 0xBF58476D1CE4E5B9 // as splitmix64 does
	return x ^ x>>32
}

// mix returns a number, never 0, that depends on all fields.
func (b body) mix() uint64 {
	x := uint64(b.seed)<<32 | uint64(b.frame)
	for _, v := range []uint64{
		uint64(b.index)<<48 | uint64(b.count)<<32 | uint64(b.width)<<16 | uint64(b.height),
		uint64(b.layer)<<8 | uint64(b.flags()),
		uint64(b.sent),
	} {
		x = (x ^ v) * step
		x ^= x >> 29
	}
	return x | 1
}

// findBody returns the body within an RTP payload and where it begins.
func findBody(payload []byte) (b body, at int, ok bool) {
	at = bytes.Index(payload, []byte(bodyMagic))
	if at < 0 || len(payload)-at < bodySize {
		return body{}, 0, false
	}
	p := payload[at+len(bodyMagic):]
	b = body{
		layer:  p[0],
		key:    p[1]&flagKey != 0,
		width:  binary.BigEndian.Uint16(p[2:]),
		height: binary.BigEndian.Uint16(p[4:]),
		index:  binary.BigEndian.Uint16(p[6:]),
		count:  binary.BigEndian.Uint16(p[8:]),
		seed:   binary.BigEndian.Uint32(p[10:]),
		frame:  binary.BigEndian.Uint32(p[14:]),
		sent:   int64(binary.BigEndian.Uint64(p[18:])),
	}
	if p[1]&flagTemporal != 0 {
		b.temporal = temporal{used: true, sync: p[1]&flagSync != 0, layer: p[1] >> flagLayer}
	}
	return b, at, binary.BigEndian.Uint32(p[26:]) == b.check()
}

func (b body) sentAt() time.Time { return time.Unix(0, b.sent) }

// The flags of a body. The temporal layer stands above them.
const (
	flagKey      = 1
	flagTemporal = 2
	flagSync     = 4
	flagLayer    = 3 // bits
)

func (b body) flags() (flags byte) {
	if b.key {
		flags |= flagKey
	}
	if b.temporal.used {
		flags |= flagTemporal | b.temporal.layer<<flagLayer
	}
	if b.temporal.sync {
		flags |= flagSync
	}
	return flags
}

// A framing spreads a stream's bits over its frames.
type framing struct {
	delta, key int // bytes of a frame
	gop        int // frames from one keyframe to the next
}

// newFraming returns the framing in which keyframes are scale times as large as
// the others and all together make bitrate.
func newFraming(bitrate, fps int, interval time.Duration, scale int) framing {
	gop := max(1, int(interval*time.Duration(fps)/time.Second))
	delta := bitrate / 8 * gop / fps / (gop - 1 + scale)
	return framing{delta: max(1, delta), key: max(1, delta*scale), gop: gop}
}

// split returns how many packets, of which size at most, carry size bytes.
func split(size, packet int) (count, each int) {
	count = max(1, (size+packet-1)/packet)
	return count, max(1, (size+count-1)/count)
}
