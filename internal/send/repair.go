package send

import (
	"encoding/binary"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
	"github.com/deltacdn/delta/internal/send/budget"
)

// repairs is what may be sent again, and has to be.
type repairs struct {
	// unaccounted is how many bytes of media the budget has not heard of yet.
	unaccounted int
	owed        *owed // nil: nothing was asked for yet before it was here
	budget      *budget.Budget
	rtxSeq      uint16
}

// owed has source numbers of packets that were asked for before they were here, by number
// modulo its length; 0: none.
type owed [64]uint64

func (o *owed) add(seq uint64) { o[seq%uint64(len(o))] = seq }

// remove reports whether a packet was owed, which it is no longer.
func (o *owed) remove(seq uint64) bool {
	at := &o[seq%uint64(len(o))]
	if *at != seq || seq == 0 {
		return false
	}
	*at = 0
	return true
}

// repairBudget is what may be sent again: as much as is asked for, to a receiver that asks
// for many.
func repairBudget(many bool) budget.Config {
	if many {
		return budget.Config{Share: 1, Burst: 1 << 20}
	}
	return budget.Config{}
}

// account tells the budget and the detector what was sent since the last time.
func (s *Sender) account(now time.Time) {
	n := s.repairs.unaccounted
	if n == 0 {
		return
	}
	s.repairs.unaccounted = 0
	s.repairs.budget.Sent(now, n)
	if s.slow != nil {
		s.slow.Sent(now, n)
	}
}

// A repair is a packet that was asked for again, as it was sent.
type repair struct {
	packet *cdn.Packet
	source *source
	seq    uint64
	ts     uint32
}

// handleNack answers a NACK from the ring.
func (s *Sender) handleNack(now time.Time, missing feedback.Missing) {
	if s.wire.out.To == nil {
		return
	}
	highest := s.numbers.Highest()
	missing.Range(func(seq uint16) bool {
		if r, ok := s.findRepair(now, seqnum.NearSeq(highest, seq)); ok {
			s.repair(now, r)
		}
		return true
	})
}

// findRepair returns the packet that was sent as number seq. It returns false for one
// that was never meant for this receiver. A packet that is not here will be sent when it
// comes, as any other. One that came here less than a round trip ago was asked for before
// the receiver can have missed it.
func (s *Sender) findRepair(now time.Time, seq uint64) (r repair, ok bool) {
	from, source, ok := s.numbers.Source(seq)
	if !ok {
		return r, false
	}
	p := from.source.layer.Lookup(source)
	if p == nil {
		if s.repairs.owed == nil {
			s.repairs.owed = new(owed)
		}
		s.repairs.owed.add(source)
		return r, false
	}
	ts, ok := s.timeline.Sent(from.segment, p.Timestamp)
	if !ok || now.Sub(p.Arrival) < s.reports.minRTT {
		return r, false
	}
	return repair{packet: p, source: from.source, seq: seq, ts: uint32(ts)}, true
}

// repair sends a packet again if the budget allows. If an earlier repair of it was lost,
// it is sent twice: another loss would cost much.
func (s *Sender) repair(now time.Time, r repair) {
	b, p := s.repairs.budget, r.packet
	again := b.Again(p.Seq) || s.set.config.servesMany()
	if !b.Allow(now, p.Seq, len(p.Payload), s.reports.minRTT) {
		return
	}
	s.resend(r)
	if s.slow != nil && !b.Opening(now) { // all lose much at first
		s.slow.Nacked(now, 1) // a request that is refused tells nothing
	}
	if again && b.Plenty(now) {
		s.resend(r)
	}
}

// repairOwed sends p, which has just been sent, a second time if it was asked for before
// it was here: it is late already, and must not be lost again.
func (s *Sender) repairOwed(now time.Time, p *cdn.Packet, seq uint64, ts uint32) {
	if s.repairs.owed == nil || !s.repairs.owed.remove(p.Seq) {
		return
	}
	s.account(now)
	if s.repairs.budget.Allow(now, p.Seq, len(p.Payload), s.reports.minRTT) {
		s.resend(repair{packet: p, source: s.feed.source, seq: seq, ts: ts})
	}
}

// resend writes a packet again as it was, by RTX (RFC 4588 section 4) where that was
// negotiated. Without RTX other bytes under the same number would give away the keys
// (RFC 3711 section 9.1).
func (s *Sender) resend(r repair) {
	w, p := &s.wire, r.packet
	s.fill(p, r.source, r.seq, r.ts, true)
	w.scratch = binary.BigEndian.AppendUint16(w.scratch[:0], uint16(r.seq))
	w.scratch = append(w.scratch, p.Payload...)
	payload := w.scratch[2:]
	if r.source.shifted {
		s.pictures.Shift(payload, r.source.shift)
	}
	if w.out.RTX != 0 {
		s.makeRTX()
		payload = w.scratch
	}
	if n, err := s.write(payload); err == nil {
		s.repairs.budget.Spend(n)
		s.reports.repaired(n)
	}
}

// makeRTX makes the header that of a retransmission (RFC 4588 section 4).
func (s *Sender) makeRTX() {
	w := &s.wire
	w.header[1] = w.header[1]&marker | s.line.RTX
	binary.BigEndian.PutUint16(w.header[2:], s.repairs.rtxSeq)
	binary.BigEndian.PutUint32(w.header[8:], w.out.RTX)
	s.repairs.rtxSeq++
}
