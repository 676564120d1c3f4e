package send

import (
	"slices"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/feedback"
	"github.com/deltacdn/delta/internal/ntp"
	"github.com/deltacdn/delta/internal/slow"
)

// reportInterval is how often a sender report goes out while media does.
const reportInterval = time.Second

// reportState is what a sender's reports are made of.
type reportState struct {
	packets, octets uint64
	resent          uint64
	loss            float64       // last reported share
	covered         uint64        // packets sent when the last report block came
	at              time.Time     // of the last one
	stamp           uint32        // its middle bits
	clock           cdn.Clock     // that it told of
	stale           bool          // a run has begun since
	rtt             time.Duration // the last sample
	least           time.Duration // of the samples, give and take
}

// measured takes a sample of the round trip. The least one is what the path
// takes without queues; it is let rise slowly, since paths change.
func (r *reportState) measured(rtt time.Duration) {
	if rtt <= 0 {
		return
	}
	r.rtt = rtt
	if r.least += r.least / 16; r.least == 0 || rtt < r.least {
		r.least = rtt
	}
}

func (r *reportState) sent(n int) {
	r.packets++
	r.octets += uint64(n)
}

// appendReport adds a sender report if one is due: with the first packet, after
// a splice, when the publisher's clock turns out to be another, and regularly.
func (s *Sender) appendReport(all []rtcp.Packet, now time.Time) []rtcp.Packet {
	r := &s.reported
	if r.packets == 0 {
		return all
	}
	clock, ok := s.layer.Clock()
	if !ok || !r.stale && now.Sub(r.at) < reportInterval && !moved(r.clock, clock) {
		return all
	}
	wall, ts := clock.At(now)
	ts += s.munger.Shift()
	if s.adrift() {
		ts = s.live(now)
	}
	stamp := ntp.Stamp(wall)
	r.at, r.stamp, r.clock, r.stale = now, ntp.Middle(stamp), clock, false
	return append(all, &rtcp.SenderReport{
		SSRC: s.out.SSRC, NTPTime: stamp, RTPTime: uint32(ts),
		PacketCount: uint32(r.packets), OctetCount: uint32(r.octets),
	})
}

// moved reports whether the two clocks say different things.
func moved(a, b cdn.Clock) bool {
	if a == b {
		return false
	}
	apart := a.Time(b.RTP).Sub(b.NTP)
	return apart > 2*time.Millisecond || apart < -2*time.Millisecond
}

// Take notes what the receiver says of this RTP stream; what is about others is
// left alone. It reports whether the session is to be ended as too slow.
func (s *Sender) Take(now time.Time, packets []rtcp.Packet) (giveUp bool) {
	return s.set.take(now, marshal(packets), []*Sender{s})
}

// take notes a message, and reports whether it is about this RTP stream.
func (s *Sender) take(now time.Time, m *feedback.Message) bool {
	if m.SSRC != s.out.SSRC && m.Kind != feedback.Estimate {
		return false
	}
	switch m.Kind {
	case feedback.Report:
		s.received(now, m)
	case feedback.Keyframe:
		s.wantKeyframe(now)
	case feedback.Nack:
		s.repair(now, m.Missing)
	case feedback.Estimate:
		if s.slow != nil {
			s.slow.Estimate(now, m.Bitrate)
		}
	case feedback.Time: // is AnswerTime's
	}
	return true
}

// wantKeyframe takes a request of the receiver's. A viewer has a share, since each
// keyframe costs all who watch the layer; a node asks for many, and has given each of
// them a share.
func (s *Sender) wantKeyframe(now time.Time) {
	switch {
	case s.idle:
		s.begged = true // ahead of the wish for the layer
	case s.waiting:
	case s.set.config.Node && now.Sub(s.heardAsk) < askedTwice:
	case s.set.config.Node || s.keyframes.Ask(now, s.reported.least):
		s.heardAsk = now
		s.layer.RequestKeyframe()
	case !s.keyframes.Due().IsZero():
		s.track.Stream().WakeAt(s.keyframes.Due())
	}
}

// askedTwice is how soon a node that asks for a keyframe again has only repeated
// what may have been lost.
const askedTwice = 50 * time.Millisecond

// catchUpRequests asks for a keyframe that the viewer asked for beyond its share,
// once it has one again.
func (s *Sender) catchUpRequests(now time.Time) {
	if !s.waiting && s.keyframes.Take(now) {
		s.layer.RequestKeyframe()
	}
}

// received takes a report block (RFC 3550 section 6.4.1).
func (s *Sender) received(now time.Time, m *feedback.Message) {
	if m.LastSR != 0 && m.LastSR == s.reported.stamp {
		delay := time.Duration(m.Delay) * time.Second / 65536
		s.reported.measured(now.Sub(s.reported.at) - delay)
	}
	s.reported.loss = float64(m.Lost) / 256
	if s.slow != nil {
		s.slow.Report(now, s.reported.loss)
	}
	s.count(now)
}

// soundAfter is how long no sound may be sent until the reports about video say
// whether the viewer gets anything.
const soundAfter = 5 * time.Second

// count gives the loss just reported to the session's breaker: that of sound, or
// of video while no sound is sent.
func (s *Sender) count(now time.Time) {
	sent := s.reported.packets - s.reported.covered
	s.reported.covered = s.reported.packets
	switch {
	case s.video && s.set.sendsSound(now):
	case sent == 0:
		s.set.breaker.Skip(now)
	default:
		s.set.breaker.Report(now, s.reported.loss)
	}
}

// sendsSound reports whether the receiver was sent sound lately.
func (s *Set) sendsSound(now time.Time) bool {
	return slices.ContainsFunc(s.senders, func(snd *Sender) bool { return !snd.video && now.Sub(snd.newestAt) < soundAfter })
}

// AnswerTime returns what the sender of an RTP stream says to let a viewer who
// asks measure its round trip (RFC 3611 sections 4.4 and 4.5), nil if the compound
// packet does not ask. A browser that does not know it waits for 100 ms before it
// asks again for a packet whose repair was lost.
func AnswerTime(ssrc uint32, compound []byte) []rtcp.Packet {
	r := feedback.Read(compound)
	for m, ok := r.Next(); ok; m, ok = r.Next() {
		if m.Kind == feedback.Time {
			return []rtcp.Packet{
				&rtcp.ReceiverReport{SSRC: ssrc},
				&rtcp.ExtendedReport{SenderSSRC: ssrc, Reports: []rtcp.ReportBlock{&rtcp.DLRRReportBlock{
					Reports: []rtcp.DLRRReport{{SSRC: m.SSRC, LastRR: ntp.Middle(m.NTP)}},
				}}},
			}
		}
	}
	return nil
}

// AnswerTime is the function of that name for those who have read the packets.
func (s *Set) AnswerTime(packets []rtcp.Packet) []rtcp.Packet {
	if ours := s.Sources(); len(ours) > 0 {
		return AnswerTime(ours[0], marshal(packets))
	}
	return nil
}

// judge decides what a slow viewer loses (a node is none).
func (s *Sender) judge(now time.Time) slow.Verdict {
	if s.slow == nil {
		return slow.Keep
	}
	lower := best(s.line.Track, s.layer)
	if s.set.config.Layer != "" {
		lower = nil // the viewer has chosen
	}
	s.slow.Lowest(lower == nil)
	v := s.slow.Verdict(now)
	switch {
	case v == slow.Down && lower != nil:
		s.held = true
		s.switchTo(lower)
	case v == slow.Down:
		resume := now.Add(pauseFor)
		s.pause(now, resume, resume)
	case v == slow.Up && s.set.config.Layer == "":
		s.held = false
		s.switchTo(best(s.line.Track, nil))
	}
	return v
}

// pauseFor is the least time for which a slow viewer gets no video: what has
// piled up on the way has to drain.
const pauseFor = time.Second
