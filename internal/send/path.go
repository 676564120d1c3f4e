package send

import (
	"encoding/binary"
	"time"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// wideNumbers are the transport-wide sequence numbers of what one receiver is sent
// (draft-holmer-rmcat-transport-wide-cc-extensions-01): one sequence over all RTP streams
// that have negotiated them, repairs and probes included.
type wideNumbers struct {
	on      bool // packets are numbered: the estimator is awake
	byTrunk bool // static: they are those of a Trunk
	last    uint16
}

func (w *wideNumbers) next() uint16 {
	w.last++
	return w.last
}

// A path tells an estimator what is sent to one receiver, and what the receiver says of
// it: Sender.transmitted and Sender.account the one, Set.handle the other. The set's mu
// guards it. A nil path tells nobody.
type path struct {
	estimator *bwe.Estimator
	plain     plainShare
}

// lowerHeaders is the size of the headers below RTP: UDP (8 bytes) and IPv4 (20). IPv6 has
// 20 bytes more.
const lowerHeaders = 28

// sent tells of a packet that has transport-wide sequence number n. size is that of the
// sealed packet, in bytes.
func (p *path) sent(now time.Time, n uint16, size int, what bwe.Flag) {
	if p != nil {
		p.estimator.Sent(n, now, size+lowerHeaders, what)
	}
}

// sentPlain tells of packets of video, or of sound, without such numbers, of size bytes in
// all.
func (p *path) sentPlain(now time.Time, video bool, packets, size int) {
	if p != nil && packets > 0 {
		p.plain.add(now, video, packets, size+packets*lowerHeaders)
		p.estimator.SentPlain(now, packets, size+packets*lowerHeaders)
	}
}

// A plainShare knows what a receiver's own estimate (REMB) does not count. libwebrtc, and
// what follows its example, measures the payload of video alone: no sound, and no headers.
type plainShare struct {
	since   time.Time // when counting began; zero: it has not
	packets int       // of video, since then
	video   int       // bytes, headers included
	sound   int       // likewise
	headers float32   // the size of video with headers, as a multiple of its payload's
	beside  float32   // the rate of sound, in bits a second
}

const (
	// mostHeaders is about what a packet of video has of headers: 12 bytes of RTP, 8 of
	// header extensions, 16 of SRTP, and those below.
	mostHeaders = 12 + 8 + 16 + lowerHeaders
	// shareSpan is how long is counted.
	shareSpan = 500 * time.Millisecond
)

func (s *plainShare) add(now time.Time, video bool, packets, size int) {
	if s.since.IsZero() {
		s.since = now
	}
	if video {
		s.packets += packets
		s.video += size
	} else {
		s.sound += size
	}
}

// whole returns what all that is sent may take, by the receiver's estimate for the payload
// of video.
func (s *plainShare) whole(now time.Time, estimate float64) float64 {
	if past := now.Sub(s.since); past >= shareSpan && !s.since.IsZero() {
		if payload := s.video - s.packets*mostHeaders; payload > s.video/2 { // of smaller packets it is not certain
			s.headers = float32(s.video) / float32(payload)
		}
		*s = plainShare{since: now, headers: s.headers, beside: float32(float64(8*s.sound) / past.Seconds())}
	}
	return estimate*float64(max(1, s.headers)) + float64(s.beside)
}

// handle tells of a message that is about no RTP stream, but about all that is sent. It
// reports whether it is.
func (p *path) handle(now time.Time, m *feedback.Message) bool {
	if p == nil {
		return false
	}
	switch m.Kind {
	case feedback.Arrivals:
		_ = p.estimator.Feedback(now, m.Packet) // malformed feedback is ignored
	case feedback.Estimate:
		if m.Bitrate > 0 { // else the receiver does not know
			p.estimator.Estimate(now, p.plain.whole(now, m.Bitrate))
		}
	default: // the senders hear of it
		return false
	}
	return true
}

// report tells of a report block, of how many packets were sent since the one before, and of the
// round trip by it; 0: unknown.
func (p *path) report(now time.Time, m *feedback.Message, sent uint64, rtt time.Duration) {
	if p != nil {
		p.estimator.Report(now, bwe.Report{SSRC: m.SSRC, Lost: m.Lost, Highest: m.Highest, Sent: uint32(sent), RoundTrip: rtt})
	}
}

// nack tells of packets that were sent, and that the receiver misses.
func (p *path) nack(packets int) {
	if p != nil {
		p.estimator.Nack(packets)
	}
}

// carries returns what the path carries, in bits a second; 0: it is not known. Reports and
// receivers' own estimates are too coarse to refuse repairs by: losses alone make them low.
func (p *path) carries(now time.Time) float64 {
	if p == nil {
		return 0
	}
	state := p.estimator.State(now)
	if state.Source != bwe.TransportFeedback {
		return 0
	}
	return max(state.Bitrate, state.Acknowledged)
}

// A stamp is the header extension that says when a packet was sent: by a transport-wide
// sequence number, or by the time itself (abs-send-time).
type stamp struct {
	id   uint8 // 0: there is none
	n    uint8 // bytes of data
	data [3]byte
}

// nextStamp returns the stamp of the packet that is sent next. It changes with each
// transmission, so where packets are repeated under their old number there is none: SRTP
// must not seal two headers under one number (RFC 3711 section 9.1). While packets are
// numbered, abs-send-time is of no use: receivers that get numbers make no estimate of
// their own.
//
// size is that of the packet's payload, in bytes.
func (s *Sender) nextStamp(now time.Time, size int, what bwe.Flag) (st stamp) {
	out, wide := &s.wire.out, &s.set.wide
	switch {
	case wide.on && out.number != 0:
		var n uint16
		if wide.byTrunk {
			n = s.set.config.Trunk.number(now, size, what)
		} else {
			n = wide.next()
		}
		st.id, st.n = out.number, 2
		binary.BigEndian.PutUint16(st.data[:], n)
	case !wide.on && !wide.byTrunk && out.time != 0:
		st.id, st.n = out.time, 3
		t := absSendTime(now)
		st.data = [3]byte{byte(t >> 16), byte(t >> 8), byte(t)}
	}
	return st
}

// number returns the transport-wide sequence number; false: it is another stamp, or none.
func (st *stamp) number() (n uint16, ok bool) {
	return binary.BigEndian.Uint16(st.data[:]), st.n == 2
}

// absSendTime is a time in seconds, with 6 bits ahead of the point and 18 behind it.
func absSendTime(t time.Time) uint32 {
	return uint32(t.Unix()&63)<<18 | uint32(uint64(t.Nanosecond())<<18/uint64(time.Second))
}

// numbered reports whether packets of any sender can have transport-wide sequence numbers.
// The caller has the set's lock.
func (s *Set) numbered() bool {
	for _, snd := range s.senders {
		if snd.wire.out.number != 0 {
			return true
		}
	}
	return false
}

// transmitted tells the path of a packet of size bytes that has just been sent, if it
// has a transport-wide sequence number. Of the others account tells, in bulk.
func (s *Sender) transmitted(now time.Time, size int, what bwe.Flag) {
	if n, ok := s.wire.stamp.number(); ok {
		s.set.path.sent(now, n, size, what)
		s.reports.told.packets++
		s.reports.told.bytes += uint64(size)
	}
}

// flag returns what the path is told of packets that are sent for the first time.
func (s *Sender) flag() bwe.Flag {
	if s.video {
		return bwe.Media
	}
	return bwe.Sound
}

// tellPlain tells the path of the packets sent without transport-wide sequence numbers
// since the last time.
func (s *Sender) tellPlain(now time.Time) {
	r := &s.reports
	packets, bytes := r.packets+r.repairs, r.wire
	s.set.path.sentPlain(now, s.video, int(packets-r.told.packets), int(bytes-r.told.bytes))
	r.told.packets, r.told.bytes = packets, bytes
}
