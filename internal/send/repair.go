package send

import (
	"encoding/binary"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/budget"
	"github.com/deltacdn/delta/internal/feedback"
	"github.com/deltacdn/delta/internal/seqnum"
)

// repairState is what may be sent again, and has to be.
type repairState struct {
	// unaccounted is how many bytes of media the budget has not heard of yet.
	unaccounted int
	owed        *[owedSlots]uint64 // asked for before it was here; 0: none; nil: nothing yet
	budget      *budget.Budget
	rtxSeq      uint16
}

// repairs is what may be sent again: to a node, which repairs for many, as much
// as is asked for.
func repairs(node bool) budget.Config {
	if node {
		return budget.Config{Share: 1, Burst: 1 << 20}
	}
	return budget.Config{}
}

// account tells the budget and the detector what was sent since the last time.
func (s *Sender) account(now time.Time) {
	n := s.unaccounted
	if n == 0 {
		return
	}
	s.unaccounted = 0
	s.budget.Sent(now, n)
	if s.slow != nil {
		s.slow.Sent(now, n)
	}
}

// repair answers a NACK from the ring. A packet that is not here will be sent
// when it comes, as any other; one that was never meant for this viewer, or
// that the budget does not allow, is left out.
func (s *Sender) repair(now time.Time, missing feedback.Missing) {
	highest, _ := s.munger.Last()
	missing.Range(func(seq uint16) bool {
		out := seqnum.NearSeq(highest, seq)
		sent, ok := s.munger.Source(out)
		if !ok || s.out.To == nil {
			return true
		}
		run, source := sent.Source, sent.Seq
		// What came here less than a round trip ago was asked for before
		// the viewer can have missed it.
		p, rtt := run.layer.Lookup(source), s.reported.least
		if p == nil {
			s.owe(source)
			return true
		}
		if now.Sub(p.Arrival) < rtt {
			return true
		}
		again := s.budget.Again(source) || s.set.config.Node // which repairs for many
		ts := uint32(s.munger.Timestamp(sent, p.Timestamp))
		if s.budget.Allow(now, source, len(p.Payload), rtt) {
			s.resend(p, run, out, ts)
			if s.slow != nil && !s.budget.Opening(now) { // all lose much at first
				s.slow.Nacked(now, 1) // what was asked for in vain tells nothing
			}
			// A repair was lost: another loss would cost much.
			if again && s.budget.Plenty(now) {
				s.resend(p, run, out, ts)
			}
		}
		return true
	})
}

// owedSlots bounds how many packets that are not here yet are remembered to
// have been asked for.
const owedSlots = 64

func (s *Sender) owe(source uint64) {
	if s.owed == nil {
		s.owed = new([owedSlots]uint64)
	}
	s.owed[source%owedSlots] = source
}

// settle sends p, which has just been sent, a second time if it was asked for
// before it was here: it is late already, and may not be lost again.
func (s *Sender) settle(now time.Time, p *cdn.Packet, seq uint64, ts uint32) {
	if s.owed == nil || s.owed[p.Seq%owedSlots] != p.Seq || p.Seq == 0 {
		return
	}
	s.owed[p.Seq%owedSlots] = 0
	s.account(now)
	if s.budget.Allow(now, p.Seq, len(p.Payload), s.reported.least) {
		s.resend(p, s.run, seq, ts)
	}
}

// resend writes p of run again as it was, by RTX (RFC 4588 section 4) where that
// was negotiated. Without RTX other bytes under the same number would give away
// the keys (RFC 3711 section 9.1).
func (s *Sender) resend(p *cdn.Packet, run *run, seq uint64, ts uint32) {
	s.fill(p, run, seq, ts, true)
	s.scratch = binary.BigEndian.AppendUint16(s.scratch[:0], uint16(seq))
	s.scratch = append(s.scratch, p.Payload...)
	payload := s.scratch[2:]
	if run.moved {
		s.pictures.Shift(payload, run.shift)
	}
	if s.out.RTX != 0 {
		s.retransmission()
		payload = s.scratch
	}
	if n, err := s.write(payload); err == nil {
		s.budget.Spend(n)
		s.reported.resent++
	}
}

// retransmission makes the header that of a retransmission (RFC 4588 section 4).
func (s *Sender) retransmission() {
	s.header[1] = s.header[1]&marker | s.line.RTX
	binary.BigEndian.PutUint16(s.header[2:], s.rtxSeq)
	binary.BigEndian.PutUint32(s.header[8:], s.out.RTX)
	s.rtxSeq++
}
