package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// This is sound that is sent with redundancy (RFC 2198): each packet brings the one before
// it again, so that the receiver misses nothing where one is lost.

const (
	// A block's header has 14 bits for how much older it is, in ticks, and 10 for its
	// length in bytes.
	maxRedundantOffset = 1<<14 - 1
	maxRedundantSize   = 1<<10 - 1
	// maxWithRedundancy bounds a payload with both, in bytes, so that the packet stays
	// below the MTU.
	maxWithRedundancy = 1100
)

// bindRedundancy decides whether packets have redundancy.
func (s *Sender) bindRedundancy() {
	w := &s.wire
	w.pt, w.red = s.line.PT, 0
	if s.line.RED != 0 && (!s.line.OnLoss || w.need.On()) {
		w.pt, w.red, w.wasRedundant = s.line.RED, s.line.PT, true
	}
}

// protect has sound sent with redundancy while the receiver's path loses it. It is called when
// a report about so many packets has come.
func (s *Sender) protect(now time.Time, sent uint64) {
	if s.line.OnLoss && s.wire.need.Report(sent, float64(s.reports.loss), s.isQueued(now)) {
		s.bindRedundancy()
	}
}

// redundant returns the payload of p as the receiver wants it: with the packet ahead of it,
// if that is here, next to it and not too large. The sender has to be live: otherwise the
// timestamps of the two are not as far apart as the publisher's.
func (s *Sender) redundant(p *cdn.Packet, payload []byte) []byte {
	w := &s.wire
	w.scratch = w.scratch[:0]
	if before := s.ahead(p); before != nil && len(before.Payload)+len(payload) <= maxWithRedundancy {
		offset, size := uint32(p.Timestamp-before.Timestamp), len(before.Payload)
		w.scratch = append(w.scratch, 1<<7|w.red, byte(offset>>6), byte(offset<<2)|byte(size>>8), byte(size), w.red)
		w.scratch = append(w.scratch, before.Payload...)
	} else {
		w.scratch = append(w.scratch, w.red)
	}
	w.scratch = append(w.scratch, payload...)
	return w.scratch
}

// ahead returns the packet ahead of p, nil if it cannot travel with it.
func (s *Sender) ahead(p *cdn.Packet) *cdn.Packet {
	if s.mode != live || p.Seq == 0 {
		return nil
	}
	before := s.feed.layer.Lookup(p.Seq - 1)
	if before == nil || len(before.Payload) == 0 || len(before.Payload) > maxRedundantSize {
		return nil
	}
	if older := p.Timestamp - before.Timestamp; older == 0 || older > maxRedundantOffset {
		return nil
	}
	return before
}
