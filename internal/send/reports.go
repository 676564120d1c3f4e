package send

import (
	"math"
	"slices"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/ntp"
)

// reportInterval is how often a sender report goes out while media does.
const reportInterval = time.Second

// reports is what a sender's reports are made of, and what the receiver's say.
type reports struct {
	packets, octets uint64 // sent for the first time; octets of payload (RFC 3550 section 6.4.1)
	wire            uint64 // bytes of all packets, repairs included, as they are sent
	repairs         uint64 // packets sent again
	told            flow   // what the set's path has heard of

	at      time.Time // of the last sender report
	stamps  [2]uint32 // the middle bits of its NTP time, and those of the one before it
	between uint32    // the microseconds between the two
	loss    float32   // share lost on the receiver's path, as last reported
	clock   cdn.Clock // that the last sender report told of
	stale   bool      // a span has begun since the last sender report
	// unsent are numbers that were passed over since the node misses the packets, and blocks
	// how many report blocks have come since the first of them.
	blocks  uint8
	unsent  uint16
	covered uint32        // packets sent when the last report block came; wraps
	rtt     time.Duration // the last sample
	minRTT  time.Duration // the lowest sample, which rises slowly
}

// A flow is packets, and their bytes as they are sent.
type flow struct{ packets, bytes uint64 }

// sent notes a packet that was sent for the first time.
func (r *reports) sent(payload, wire int) {
	r.packets++
	r.octets += uint64(payload)
	r.wire += uint64(wire)
}

// repaired notes a packet that was sent again.
func (r *reports) repaired(wire int) {
	r.repairs++
	r.wire += uint64(wire)
}

// due reports whether a sender report is due: with the first packet, after a splice,
// when the publisher's clock turns out to be another, and regularly.
func (r *reports) due(now time.Time, clock cdn.Clock) bool {
	return r.packets > 0 && (r.stale || now.Sub(r.at) >= reportInterval || differ(r.clock, clock))
}

// measured takes a sample of the round trip. The lowest one is what the path takes
// without queues. It rises slowly, since paths change.
func (r *reports) measured(rtt time.Duration) {
	if rtt <= 0 {
		return
	}
	r.rtt = rtt
	if r.minRTT += r.minRTT / 16; r.minRTT == 0 || rtt < r.minRTT {
		r.minRTT = rtt
	}
}

// issue notes a sender report that is sent.
func (r *reports) issue(now time.Time, stamp uint32, clock cdn.Clock) {
	r.between = uint32(min(now.Sub(r.at)/time.Microsecond, math.MaxUint32))
	r.stamps = [2]uint32{stamp, r.stamps[0]}
	r.at, r.clock, r.stale = now, clock, false
}

// issuedAt returns when the sender report with a stamp was sent; false: that is not known.
// It need not be the last one, which may have been sent while the report block that names
// the one before was on its way. The stamps by themselves do not say how long ago that was:
// the clock that they are of is the publisher's, as far as it is known here.
func (r *reports) issuedAt(stamp uint32) (at time.Time, ok bool) {
	switch stamp {
	case 0:
		return time.Time{}, false
	case r.stamps[0]:
		return r.at, true
	}
	return r.at.Add(-time.Duration(r.between) * time.Microsecond), stamp == r.stamps[1]
}

// passedOver notes that n numbers were passed over, since the node misses their packets. It
// may be sent them later, and is told so by cameLate.
func (r *reports) passedOver(n uint64) {
	if r.unsent == 0 {
		r.blocks = 0
	}
	r.unsent = uint16(min(uint64(r.unsent)+n, math.MaxUint16))
}

// cameLate notes that a packet is sent whose number was passed over.
func (r *reports) cameLate() { r.unsent -= min(r.unsent, 1) }

// excuseFor is in how many report blocks what was not sent may be reported as lost.
const excuseFor = 5

// excuse takes from the part lost that a report block tells, of 256, the packets that were
// not sent: their loss says nothing of the receiver's path. sent is how many packets were since
// the block before.
func (r *reports) excuse(sent uint64, m *feedback.Message) (lost uint8) {
	if r.unsent == 0 || sent == 0 {
		return m.Lost
	}
	missing := float64(m.Lost) * float64(sent+uint64(r.unsent)) / 256
	excused := min(missing, float64(r.unsent))
	r.unsent -= uint16(math.Ceil(excused))
	if r.blocks++; r.blocks >= excuseFor {
		r.unsent = 0
	}
	return uint8(min((missing-excused)*256/float64(sent), 255))
}

// received takes a report block (RFC 3550 section 6.4.1). It returns how many packets
// were sent since the block before, and the round trip by the sender report that the block
// names; 0: it names none that is known.
func (r *reports) received(now time.Time, m *feedback.Message) (sent uint64, rtt time.Duration) {
	if at, ok := r.issuedAt(m.LastSR); ok {
		delay := time.Duration(m.Delay) * time.Second / 65536
		rtt = max(0, now.Sub(at)-delay)
		r.measured(rtt)
	}
	sent = uint64(uint32(r.packets) - r.covered)
	r.covered = uint32(r.packets)
	m.Lost = r.excuse(sent, m)
	r.loss = float32(m.Lost) / 256
	return sent, rtt
}

// differ reports whether two clocks tell different times.
func differ(a, b cdn.Clock) bool {
	if a == b {
		return false
	}
	apart := a.Time(b.RTP).Sub(b.NTP)
	return apart > 2*time.Millisecond || apart < -2*time.Millisecond
}

// appendReport appends a sender report if one is due.
func (s *Sender) appendReport(all []rtcp.Packet, now time.Time) []rtcp.Packet {
	r := &s.reports
	if r.packets == 0 {
		return all
	}
	clock, ok := s.feed.layer.Clock()
	if !ok || !r.due(now, clock) {
		return all
	}
	wall, ts := clock.At(now)
	ts += s.timeline.Offset()
	if s.clock.isGuess {
		ts = s.liveTimestamp(now)
	}
	stamp := ntp.Stamp(wall)
	r.issue(now, ntp.Middle(stamp), clock)
	return append(all, &rtcp.SenderReport{
		SSRC: s.wire.out.SSRC, NTPTime: stamp, RTPTime: uint32(ts),
		PacketCount: uint32(r.packets), OctetCount: uint32(r.octets),
	})
}

// handleReport handles a report block. It goes to the set's path, and its loss to the
// session's breaker: that counts the loss of sound, or of video while no sound is sent.
func (s *Sender) handleReport(now time.Time, m *feedback.Message) {
	reported := m.Lost
	sent, rtt := s.reports.received(now, m)
	s.set.path.report(now, m, sent, rtt)
	s.set.config.Trunk.report(m)
	if s.wire.out.To != nil {
		s.repairs.budget.Measured(rtt)
		s.measureReordering(sent, reported)
	}
	switch {
	case !s.video:
		s.protect(now, sent)
	case s.set.config.Playout.Repairs > 0:
		s.holdBack(now)
	}
	switch {
	case s.video && s.set.sendsSound(now):
	case s.stopped.halted == noVideo: // and there is nothing else
		s.set.breaker.Report(now, 1)
	case sent == 0:
		s.set.breaker.Skip(now)
	default:
		s.set.breaker.Report(now, float64(s.reports.loss))
	}
}

// soundWithin is how lately sound must have been sent for its reports to count, and
// not those of video.
const soundWithin = 5 * time.Second

// sendsSound reports whether the receiver was sent sound lately.
func (s *Set) sendsSound(now time.Time) bool {
	return slices.ContainsFunc(s.senders, func(snd *Sender) bool { return !snd.video && now.Sub(snd.feed.newestAt) < soundWithin })
}
