package fec

import (
	"crypto/subtle"
	"encoding/binary"
	"slices"
)

const (
	// size is how many packets of a stream are kept, a power of two. It has to be larger
	// than ahead and maxDistance together.
	size = 256
	// ahead is how far above the highest number that came a packet can be repaired.
	ahead = 110
	// maxParities is how many are kept because more than one of their packets is missing.
	maxParities = 32
	// maxBody bounds what is kept of a packet, in bytes: larger ones do not travel.
	maxBody = 1600
	// resetAfter is how many packets in a row have to be too old for a new numbering: the
	// sender was reset.
	resetAfter = 16
)

// A Source is a packet of media as the sender protected it.
type Source struct {
	Header      []byte // with sources and extensions
	PayloadType uint8  // instead of the header's
	Payload     []byte // with padding
	// Unprotected are header extensions that senders fill in behind the protection: they
	// count as zeros.
	Unprotected []Extension
}

// An Extension is a header extension, or what is behind the first bytes of it.
type Extension struct {
	ID   uint8
	From int // byte
}

// A Window holds the newest packets of one stream, and the parities that are not of use
// yet. The zero value is ready to use. It is not safe for concurrent use.
type Window struct {
	newest   uint64 // number; 0: nothing has come
	slots    [size]slot
	tooOld   int // packets in a row
	parities []kept
	spare    []kept // whose memory is used again
	repaired []uint64
	packet   []byte // that Next returned
}

// A slot is a packet. It is that numbered seq alone.
type slot struct {
	seq  uint64
	head [8]byte
	body []byte
}

// kept is a parity with memory of its own.
type kept struct {
	Parity
	base   uint64
	memory []byte
}

// Keep adds a copy of a packet that has come. What that repairs is what [Window.Next]
// returns. A packet that came again by RTX has other header extensions than the one that is
// protected: it must not be kept.
func (w *Window) Keep(s Source) {
	if len(s.Header) < fixedHeader || len(s.Header)-fixedHeader+len(s.Payload) > maxBody {
		return
	}
	seq, ok := w.extend(binary.BigEndian.Uint16(s.Header[2:]))
	if !ok || w.has(seq) {
		return
	}
	at := &w.slots[seq%size]
	at.seq = seq
	at.body = append(append(at.body[:0], s.Header[fixedHeader:]...), s.Payload...)
	at.head = head(s.Header, s.PayloadType, len(at.body))
	if len(s.Unprotected) > 0 {
		blank(s.Header, at.body, s.Unprotected)
	}
	w.newest = max(w.newest, seq)
	if len(w.parities) > 0 {
		w.repair()
	}
}

// Add takes a parity, which it copies if it cannot be used yet. What that repairs is what
// [Window.Next] returns.
func (w *Window) Add(p Parity) {
	if w.newest == 0 || len(p.body) > maxBody {
		return // it is about nothing that is known
	}
	k := kept{Parity: p, base: w.near(p.base)}
	if missing, _ := w.missing(&k); missing == 0 {
		return
	}
	if len(w.parities) == maxParities {
		w.forget(0)
	}
	if n := len(w.spare); n > 0 {
		k.memory, w.spare = w.spare[n-1].memory, w.spare[:n-1]
	}
	k.memory = append(k.memory[:0], p.body...)
	k.body = k.memory
	w.parities = append(w.parities, k)
	w.repair()
}

// Next returns a packet that was repaired, the lowest number first, nil: there is none. The
// stream's is its SSRC. What is returned is good until the next call.
func (w *Window) Next(ssrc uint32) []byte {
	for len(w.repaired) > 0 {
		seq := w.repaired[0]
		w.repaired = slices.Delete(w.repaired, 0, 1)
		if !w.has(seq) {
			continue
		}
		s := &w.slots[seq%size]
		w.packet = append(w.packet[:0], 0x80|s.head[0], s.head[1], byte(seq>>8), byte(seq))
		w.packet = append(w.packet, s.head[4:]...)
		w.packet = binary.BigEndian.AppendUint32(w.packet, ssrc)
		w.packet = append(w.packet, s.body...)
		return w.packet
	}
	return nil
}

// Last returns the number of the last packet that a parity is about.
func (p *Parity) Last() uint16 { return p.base + uint16(p.most[1]) }

// near returns the number nearest to the newest that ends in seq.
func (w *Window) near(seq uint16) uint64 {
	return w.newest + uint64(int64(int16(seq-uint16(w.newest))))
}

// extend returns the number of a packet that comes. It is false if the packet is too old;
// if many are, they are of a new numbering.
func (w *Window) extend(seq uint16) (uint64, bool) {
	const cycle = 1 << 16
	if w.newest == 0 {
		w.newest = cycle + uint64(seq)
		return w.newest, true
	}
	at := w.near(seq)
	if at+size > w.newest {
		w.tooOld = 0
		return at, true
	}
	if w.tooOld++; w.tooOld < resetAfter {
		return 0, false
	}
	w.tooOld, w.repaired = 0, w.repaired[:0]
	for len(w.parities) > 0 {
		w.forget(0)
	}
	w.newest = (w.newest/cycle+2)*cycle + uint64(seq)
	return w.newest, true
}

func (w *Window) has(seq uint64) bool { return w.slots[seq%size].seq == seq }

// missing returns how many of a parity's packets are missing, 2 for several, and the first of
// them. It is 0, too, if the parity is of no use: it is about what is outside the window.
func (w *Window) missing(k *kept) (n int, first uint64) {
	if k.base+uint64(k.most[0])+size <= w.newest || k.base+uint64(k.most[1]) > w.newest+ahead {
		return 0, 0
	}
	k.mask.all(func(distance uint64) bool {
		if seq := k.base + distance; !w.has(seq) {
			if n++; n == 1 {
				first = seq
			}
		}
		return n < 2
	})
	return n, first
}

// repair uses all parities of which one packet is missing, until there is none.
func (w *Window) repair() {
	for i := 0; i < len(w.parities); {
		k := &w.parities[i]
		switch n, seq := w.missing(k); n {
		case 0:
			w.forget(i)
		case 1:
			repaired := w.rebuild(k, seq)
			if w.forget(i); repaired {
				i = 0 // others may be of use now
			}
		default:
			i++
		}
	}
}

// forget drops a parity, and keeps its memory.
func (w *Window) forget(i int) {
	w.spare = append(w.spare, kept{memory: w.parities[i].memory})
	w.parities = slices.Delete(w.parities, i, i+1)
}

// rebuild makes the one packet of a parity that is missing. It is false if what is protected
// is not all of it.
func (w *Window) rebuild(k *kept, missing uint64) bool {
	h, body := k.head, k.body
	k.mask.all(func(distance uint64) bool {
		if s := &w.slots[(k.base+distance)%size]; k.base+distance != missing {
			subtle.XORBytes(h[:], h[:], s.head[:])
			n := min(len(body), len(s.body))
			subtle.XORBytes(body[:n], body[:n], s.body)
		}
		return true
	})
	n := int(binary.BigEndian.Uint16(h[2:]))
	if n > len(body) || missing+size <= w.newest {
		return false
	}
	s := &w.slots[missing%size]
	s.seq, s.head = missing, h
	s.body = append(s.body[:0], body[:n]...)
	w.newest = max(w.newest, missing)
	if len(w.repaired) == size {
		w.repaired = slices.Delete(w.repaired, 0, 1) // nobody asks for them
	}
	at, _ := slices.BinarySearch(w.repaired, missing)
	w.repaired = slices.Insert(w.repaired, at, missing)
	return true
}

// blank has header extensions (RFC 8285) be zeros in body, which begins as the header does
// behind its first 12 bytes.
func blank(header, body []byte, unprotected []Extension) {
	const profile, oneByte = 4, 0xbede
	first := 4 * int(header[0]&0x0f)
	if header[0]&0x10 == 0 || len(body) < first+profile {
		return
	}
	short := binary.BigEndian.Uint16(body[first:]) == oneByte
	end := min(first+profile+4*int(binary.BigEndian.Uint16(body[first+2:])), len(body))
	for rest := body[first+profile : end]; len(rest) > 1; {
		id, n, data := rest[0]>>4, int(rest[0]&0x0f)+1, rest[1:]
		switch {
		case rest[0] == 0: // padding
			rest = data
			continue
		case short && id == 15:
			return
		case !short:
			id, n, data = rest[0], int(rest[1]), rest[2:]
		}
		if n > len(data) {
			return
		}
		for _, e := range unprotected {
			if e.ID == id && e.From < n {
				clear(data[e.From:n])
			}
		}
		rest = data[n:]
	}
}
