package send

import (
	"encoding/binary"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
	"github.com/deltacdn/delta/internal/send/budget"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// repairs is what may be sent again, and has to be.
type repairs struct {
	// unaccounted is how many bytes of media the budget has not heard of yet.
	unaccounted int
	owed        *owed // nil: nothing was asked for yet before it was here
	budget      *budget.Budget
	rtxSeq      uint16
	repeats     bool // packets that were repaired already were asked for
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
// for many. What a node asks for again it has not got.
func repairBudget(c Config) budget.Config {
	if c.servesMany() {
		return budget.Config{Share: 1, Burst: 1 << 19, Twice: true, Exact: c.Node}
	}
	return budget.Config{}
}

// account tells the budget and the path what was sent since the last time.
func (s *Sender) account(now time.Time) {
	s.tellPlain(now)
	n := s.repairs.unaccounted
	if n == 0 {
		return
	}
	s.repairs.unaccounted = 0
	s.repairs.budget.Sent(now, n)
}

// A repair is a packet that was asked for again, as it was sent.
type repair struct {
	packet  *cdn.Packet
	source  *source
	segment uint32 // of the timeline
	from    uint64 // the packet's number in its source
	seq     uint64
	ts      uint32
}

// handleNack answers a NACK from the ring, but for packets that were repaired already:
// handleRepeats does that when all that is asked for at once was looked through, so that
// they take nothing from packets that are asked for the first time.
func (s *Sender) handleNack(now time.Time, missing feedback.Missing) {
	s.set.path.nack(s.countSent(missing))
	s.set.config.Trunk.nack(missing)
	if s.wire.out.To == nil || s.stopped.held {
		return
	}
	highest := s.numbers.Highest()
	if !s.wire.repeats() {
		s.noteLost(now, highest, missing)
		return
	}
	missing.Range(func(seq uint16) bool {
		r, ok := s.findAsked(seqnum.NearSeq(highest, seq))
		switch {
		case !ok:
		case s.repairs.budget.Repaired(r.from):
			s.repairs.repeats = true
		case s.findRepair(now, &r):
			s.repair(now, &r)
		}
		return true
	})
}

// noteLost notes whether a receiver to which nothing is sent again lacks a part of the newest frame.
// Where keyframes alone are sent, its request for another one is passed on then.
func (s *Sender) noteLost(now time.Time, highest uint64, missing feedback.Missing) {
	missing.Range(func(seq uint16) bool {
		if r, ok := s.sentAs(seqnum.NearSeq(highest, seq)); ok && r.ts == uint32(s.feed.newestTS) {
			s.keyframes.lost = now.UnixNano()
		}
		return true
	})
}

// countSent returns how many of the packets were sent: what the node misses itself says nothing of
// the receiver's path.
func (s *Sender) countSent(missing feedback.Missing) (n int) {
	if s.set.path == nil {
		return 0
	}
	missing.Range(func(seq uint16) bool {
		if _, ok := s.sentAs(seqnum.NearSeq(s.numbers.Highest(), seq)); ok {
			n++
		}
		return true
	})
	return n
}

// handleRepeats answers what handleNack has left of messages.
func (s *Sender) handleRepeats(now time.Time, messages []feedback.Message) {
	for i := range messages {
		if m := &messages[i]; m.Kind == feedback.Nack && m.SSRC == s.wire.out.SSRC {
			m.Missing.Range(func(seq uint16) bool {
				s.repairAgain(now, seq)
				return true
			})
		}
	}
}

// repairAgain repairs a packet that was repaired before now.
func (s *Sender) repairAgain(now time.Time, seq uint16) {
	r, ok := s.findAsked(seqnum.NearSeq(s.numbers.Highest(), seq))
	b := s.repairs.budget
	if ok && b.Repaired(r.from) && !b.RepairedNow(now, r.from) && s.findRepair(now, &r) {
		s.repair(now, &r)
	}
}

// findAsked returns what is known of the packet that was sent as number seq without looking
// at the ring. It returns false for one that was never meant for this receiver.
func (s *Sender) findAsked(seq uint64) (r repair, ok bool) {
	from, source, ok := s.numbers.Source(seq)
	return repair{source: from.source, segment: from.segment, from: source, seq: seq}, ok
}

// isUnread reports whether the cursor has yet to reach p, a packet of its layer that came late.
// The cursor will send it or leave it out. If it leaves it out, an empty packet takes its number,
// so a repair must not have used that number before.
func (s *Sender) isUnread(p *cdn.Packet) bool {
	c := s.feed.cursor
	next := c.Next()
	return next != nil && p.Index >= next.Index
}

// findRepair finds the packet of r, and reports whether it can be sent now. A packet that
// is not here will be sent when it comes, as any other.
func (s *Sender) findRepair(now time.Time, r *repair) bool {
	p := r.source.layer.Lookup(r.from)
	if p == nil {
		if s.repairs.owed == nil {
			s.repairs.owed = new(owed)
		}
		s.repairs.owed.add(r.from)
		return false
	}
	if r.source == s.feed.source && s.isUnread(p) {
		return false
	}
	ts, ok := s.timeline.Sent(r.segment, p.Timestamp)
	r.packet, r.ts = p, uint32(ts)
	switch {
	case !ok || s.isAskedEarly(now, r):
		return false
	case s.numbers.Void(r.seq):
		r.packet = emptied(p)
	case s.isAbove(p):
		return false
	}
	return true
}

// isAskedEarly reports whether a packet may be on its way to the receiver, which has asked for it
// all the same. It came here late, less than a round trip ago: the receiver missed it before it
// was sent. Or packets overtake one another on the path. No other packet can be missed that early,
// so a request for it that seems to be early shows that the round trip was measured too long:
// receivers are slow with their reports at times. To wait for the next request would cost a round
// trip, or more with receivers that ask again with the next loss.
func (s *Sender) isAskedEarly(now time.Time, r *repair) bool {
	least := s.reports.minRTT
	wait := s.repairs.budget.Reordering.Wait(least)
	return now.Sub(r.packet.Arrival) < least+wait && (wait > 0 || cameLate(r))
}

// repair sends a packet again if the budget allows. If an earlier repair of it was lost,
// it may be sent twice: another loss would cost much.
func (s *Sender) repair(now time.Time, r *repair) {
	if r.ts == uint32(s.feed.newestTS) {
		s.keyframes.lost = now.UnixNano()
	}
	first := !s.repairs.budget.Repaired(r.from)
	copies := s.mayRepair(now, r)
	if copies > 0 && !cameLate(r) {
		s.repairs.budget.Answer()
		if first {
			s.repairs.budget.Reordering.Repaired()
		}
	}
	for range copies {
		s.resend(now, *r, bwe.Repair)
	}
}

// mostOvertaken is by how many packets one that came late was overtaken at most.
const mostOvertaken = 64

// cameLate reports whether a packet came here later than one behind it. The receiver missed it
// then, and may have got it since, whatever its own path does.
func cameLate(r *repair) bool {
	for n := uint64(1); n <= mostOvertaken; n++ {
		if p := r.source.layer.Lookup(r.from + n); p != nil && p.Index < r.packet.Index {
			return true
		}
	}
	return false
}

// mayRepair returns how many copies of a packet may be sent now.
func (s *Sender) mayRepair(now time.Time, r *repair) (copies int) {
	return s.repairs.budget.Allow(now, budget.Request{
		Seq: r.from, Bytes: len(r.packet.Payload), RTT: s.repeatAfter(), Room: s.set.repairRoom(now, s.set.path.carries(now)),
		Far: s.isFar(now),
	})
}

// farTrip is the round trip, without queues, from which on a second repair comes so late that the
// first is better sent twice.
const farTrip = 150 * time.Millisecond

// isFar reports whether the receiver is a viewer that is far away, behind a path that is not
// congested, as far as it is known.
func (s *Sender) isFar(now time.Time) bool {
	a := s.set.adaptation
	if a == nil || a.path.estimator == nil || s.reports.minRTT < farTrip || a.fellLately(now) {
		return false
	}
	state := a.path.estimator.State(now)
	return !state.Full()
}

// rttError is how much too long a measured round trip may be.
const rttError = time.Millisecond

// repeatAfter returns how long after a repair the next one of the same packet is sent at
// the earliest: a round trip; 0: that is not known. What a node asks for again it is sent as
// soon as it can have missed the repair.
func (s *Sender) repeatAfter() time.Duration {
	if s.set.config.Node {
		return s.reports.minRTT
	}
	return max(0, s.reports.minRTT-rttError, s.repairs.budget.RTT()-rttError)
}

// measureReordering takes what a report says of so many packets sent since the one before:
// the part of 256 that is lost, rounded down.
func (s *Sender) measureReordering(sent uint64, part uint8) {
	switch {
	case s.wire.out.RTX == 0: // repairs count as received
	case s.set.config.Node: // it measures reordering itself
	case part == 0:
		s.repairs.budget.Reported(0)
	default:
		s.repairs.budget.Reported(float64(sent) * (float64(part) + 0.5) / 256)
	}
}

// repairRoom returns how many bytes a second a path that carries rate, in bits a second,
// carries beside what all senders send now. If rate is 0, it is not known, nor in the
// second after a step down: what was sent lately is no measure of what is sent now.
func (s *Set) repairRoom(now time.Time, rate float64) float64 {
	if t := s.config.Trunk; t != nil {
		return s.trunkRoom(now)
	}
	if rate == 0 || s.adaptation != nil && s.adaptation.fellLately(now) {
		return budget.Unknown
	}
	room := rate / 8
	for _, snd := range s.senders {
		room -= snd.repairs.budget.Rate(now)
	}
	return room
}

// repairOwed sends p, which has just been sent, a second time if it was asked for before
// it was here: it is late already, and must not be lost again. What was sent once and is
// missing comes first, so there must be plenty of credit.
func (s *Sender) repairOwed(now time.Time, p *cdn.Packet, seq uint64, ts uint32) {
	if s.repairs.owed == nil || !s.repairs.owed.remove(p.Seq) {
		return
	}
	s.account(now)
	r := repair{packet: p, source: s.feed.source, from: p.Seq, seq: seq, ts: ts}
	if s.repairs.budget.Plenty(now) && s.mayRepair(now, &r) > 0 {
		s.resend(now, r, bwe.Repair)
	}
}

// resend writes a packet again, as a repair or as padding: by RTX (RFC 4588 section 4)
// where that was negotiated, and else as it was. Without RTX other bytes under the same
// number would give away the keys (RFC 3711 section 9.1).
func (s *Sender) resend(now time.Time, r repair, what bwe.Flag) {
	w, p := &s.wire, r.packet
	if !w.repeats() {
		return
	}
	if w.stamped {
		w.stamp = s.nextStamp(now, len(p.Payload), what)
	}
	s.fill(p, r.source, r.seq, r.ts, true)
	w.scratch = binary.BigEndian.AppendUint16(w.scratch[:0], uint16(r.seq))
	w.scratch = append(w.scratch, p.Payload...)
	payload := w.scratch[2:]
	if by, moved := s.pictureShift(r.source, r.seq); moved && len(payload) > 0 {
		s.pictures.Shift(payload, by)
	}
	if w.out.RTX != 0 {
		s.makeRTX()
		payload = w.scratch
	}
	if n, err := s.write(payload); err == nil {
		if what == bwe.Repair {
			s.set.pace.repaired(now, n)
			s.repairs.budget.Spend(now, n)
		}
		s.reports.repaired(n)
		s.transmitted(now, n, what)
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
