package send

import (
	"encoding/binary"
	"time"

	"github.com/deltacdn/delta/cdn"
)

const (
	twoByteProfile = 0x1000 // RFC 8285 section 4.3
	oneByteProfile = 0xBEDE // RFC 8285 section 4.2

	rtpHeader    = 12     // RFC 3550 section 5.1, without sources
	rtpVersion   = 2 << 6 // of the first byte
	hasExtension = 1 << 4 // likewise
	marker       = 1 << 7 // of the second one
)

// midPackets is how many packets of a stream name the m-section that it belongs to
// (RFC 9143 section 15.1), for receivers that did not learn it from the SSRC. They are told
// by their numbers, so that what is sent again has the same header.
const midPackets = 64

// fill makes the header for a source's packet p, which is sent as number seq for the first
// time or again. The header's memory is used again for each packet, so that nothing is
// allocated.
func (s *Sender) fill(p *cdn.Packet, src *source, seq uint64, ts uint32, again bool) {
	w := &s.wire
	h := [rtpHeader]byte{rtpVersion, w.pt}
	if p.Marker {
		h[1] |= marker
	}
	binary.BigEndian.PutUint16(h[2:], uint16(seq))
	binary.BigEndian.PutUint32(h[4:], ts)
	binary.BigEndian.PutUint32(h[8:], w.out.SSRC)
	w.header = append(w.header[:0], h[:]...)
	if w.named == 0 {
		w.named = seq + midPackets
	}
	named := s.rid != "" || seq < w.named
	if seq < s.numbers.Highest() {
		again = true // late, which changes as little as a repair does
	}
	switch {
	case len(p.Extensions) > 0 || w.delays || named || w.stamp.id != 0 && w.wide:
		s.extend(p, src, named, again)
	case w.stamp.id != 0:
		w.header = w.stamp.extend(w.header)
	}
}

// extend adds a stamp as the only extension, in the one-byte form: most packets have no other.
func (st *stamp) extend(header []byte) []byte {
	header[0] |= hasExtension
	d := &st.data // of a number the last byte is zero, which is padding
	return append(header, oneByteProfile>>8, oneByteProfile&0xff, 0, 1, st.id<<4|(st.n-1), d[0], d[1], d[2])
}

// extend adds the header extensions. Their form is the one-byte form, which every receiver
// reads, unless one of them needs the two-byte form; not all receivers take both in one
// stream.
func (s *Sender) extend(p *cdn.Packet, src *source, named, again bool) {
	w := &s.wire
	e := extensions{header: w.header, long: w.wide}
	s.writeExtensions(&e, p, src, named, again)
	if e.tooLong {
		e = extensions{header: w.header, long: true}
		s.writeExtensions(&e, p, src, named, again)
	}
	w.header = e.close()
}

// writeExtensions writes the published extensions that the receiver takes, and ours.
func (s *Sender) writeExtensions(e *extensions, p *cdn.Packet, src *source, named, again bool) {
	w := &s.wire
	for block := p.Extensions; len(block) >= 2 && len(block) >= 2+int(block[1]); block = block[2+int(block[1]):] {
		id, data := w.id(block[0]), block[2:2+int(block[1])]
		if id == 0 {
			continue
		}
		if block[0] == s.descriptor {
			data = s.pictureID.descriptor(src, data, again)
		}
		e.add(id, data)
	}
	if w.delays {
		e.add(w.out.delay, w.delay[:])
	}
	if named {
		e.addText(w.out.mid, w.out.Mid)
		e.addText(w.out.rid, s.rid) // layers are told apart by it (RFC 8853)
	}
	if st := &w.stamp; st.id != 0 {
		e.add(st.id, st.data[:st.n])
	}
}

// extensions writes header extensions behind a header (RFC 8285).
type extensions struct {
	header  []byte
	body    bool // there are some
	long    bool // the two-byte form
	tooLong bool // one was left out that is too long for the one-byte form
}

// add adds one, if the receiver has an id for it.
func (e *extensions) add(id uint8, data []byte) {
	if e.addHeader(id, len(data)) {
		e.header = append(e.header, data...)
	}
}

func (e *extensions) addText(id uint8, text string) {
	if e.addHeader(id, len(text)) {
		e.header = append(e.header, text...)
	}
}

// addHeader writes the id and length of n bytes of data, and reports whether the caller
// is to write these.
func (e *extensions) addHeader(id uint8, n int) bool {
	switch {
	case id == 0 || n == 0 || n > 255:
		return false
	case !e.long && (id > 14 || n > 16):
		e.tooLong = true
		return false
	case !e.body:
		e.body = true
		e.header = append(e.header, 0, 0, 0, 0)
	}
	if e.long {
		e.header = append(e.header, id, uint8(n))
	} else {
		e.header = append(e.header, id<<4|uint8(n-1))
	}
	return true
}

// close returns the header with all that was added.
func (e *extensions) close() []byte {
	if !e.body {
		return e.header
	}
	for len(e.header)%4 != 0 {
		e.header = append(e.header, 0)
	}
	e.header[0] |= hasExtension
	block, profile := e.header[rtpHeader:], uint16(oneByteProfile)
	if e.long {
		profile = twoByteProfile
	}
	binary.BigEndian.PutUint16(block, profile)
	binary.BigEndian.PutUint16(block[2:], uint16(len(block)/4-1))
	return e.header
}

// bytes is the playout-delay extension: 12 bits each, in units of 10 ms.
func (d PlayoutDelay) bytes() [3]byte {
	const most = 1<<12 - 1
	lo := min(max(d.Min/(10*time.Millisecond), 0), most)
	hi := min(max(d.Max/(10*time.Millisecond), 0), most)
	return [3]byte{byte(lo >> 4), byte(lo<<4) | byte(hi>>8), byte(hi)}
}
