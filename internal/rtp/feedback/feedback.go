// Package feedback reads the RTCP that the receiver of RTP streams sends (RFC 3550, RFC
// 4585, RFC 5104, RFC 3611, and drafts of RMCAT), without allocation: each viewer sends a
// report a second, and most say nothing new.
package feedback

import (
	"encoding/binary"
	"math/bits"
)

// A Kind is the kind of a message.
type Kind uint8

// The kinds. Messages of other kinds are skipped.
const (
	Report       Kind = iota + 1 // a reception report block (RFC 3550 section 6.4.1)
	Keyframe                     // a request for one: PLI (RFC 4585 section 6.3.1) or FIR (RFC 5104 section 4.3.1)
	Nack                         // packets are missing (RFC 4585 section 6.2.1)
	Estimate                     // the bandwidth (REMB, draft-alvestrand-rmcat-remb)
	Time                         // a question for the time (RFC 3611 section 4.4)
	SenderReport                 // the sender info of a sender report (RFC 3550 section 6.4.1)
	Arrivals                     // when packets have arrived, by transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01)
)

// A Message is one statement of a compound packet. Fields of other kinds are zero.
type Message struct {
	Kind Kind
	// SSRC is the RTP stream that the message is about. That of a Time is the
	// receiver's own; an Estimate has none; that of Arrivals is one of several.
	SSRC uint32

	Lost    uint8   // of Report: the fraction lost, in 1/256
	Highest uint32  // of Report: the extended highest sequence number received
	Jitter  uint32  // of Report: the interarrival jitter, in ticks of the stream's RTP clock
	LastSR  uint32  // of Report: the middle 32 bits of the last sender report's NTP time
	Delay   uint32  // of Report: the time since that report came, in units of 1/65536 s
	RTP     uint32  // of SenderReport: the RTP timestamp that goes with NTP
	NTP     uint64  // of Time and SenderReport: the clock of who sends it
	Bitrate float64 // of Estimate, in bits a second
	Missing Missing // of Nack
	// Packet is that of Arrivals, as it came: header and padding included. It is part of
	// the buffer that was read, and nothing in it has been checked but its length.
	Packet []byte
}

// Missing are the sequence numbers of a NACK: pairs of a number and a mask of the 16
// that follow it. It is part of the buffer that was read.
type Missing []byte

const pairLen = 4

// Range calls f for each number until that returns false.
func (m Missing) Range(f func(seq uint16) bool) {
	for ; len(m) >= pairLen; m = m[pairLen:] {
		seq := binary.BigEndian.Uint16(m)
		for rest := uint32(binary.BigEndian.Uint16(m[2:]))<<1 | 1; rest != 0; rest &= rest - 1 {
			if !f(seq + uint16(bits.TrailingZeros32(rest))) {
				return
			}
		}
	}
}

// Count returns how many numbers there are.
func (m Missing) Count() (n int) {
	_, n = m.most(len(m) / pairLen * 17)
	return n
}

// MaxMissing bounds how many packets one compound packet can ask for: that is
// more than a viewer can have missed since the last, and a datagram has room for
// 6,000.
const MaxMissing = 512

// most returns the pairs that have n numbers at most, and how many they have.
func (m Missing) most(n int) (some Missing, count int) {
	for i := 0; i+pairLen <= len(m); i += pairLen {
		more := 1 + bits.OnesCount16(binary.BigEndian.Uint16(m[i+2:]))
		if count+more > n {
			return m[:i], count
		}
		count += more
	}
	return m, count
}

// A Reader reads a compound packet, message by message. A packet in it that
// cannot be understood is passed over; the others count all the same.
type Reader struct {
	rest    []byte // the packets after the present one
	kind    Kind   // of the present one's messages
	sender  uint32 // SSRC of the present packet's sender
	media   uint32 // SSRC that it is about; 0: each message has one
	info    []byte // sender info of the present packet that was not read yet
	left    []byte // of the present packet, what was not read yet
	whole   []byte // the present packet, with its padding
	missing int    // how many packets may be asked for yet
}

// Read returns a Reader of a compound packet.
func Read(compound []byte) Reader { return Reader{rest: compound, missing: MaxMissing} }

// Next returns the next message; false: there is none.
func (r *Reader) Next() (m Message, ok bool) {
	for {
		if m, ok = r.take(); ok {
			return m, true
		}
		if !r.begin() {
			return Message{}, false
		}
	}
}

// The RTCP packet types, and formats of feedback, that are of interest.
const (
	senderReport, receiverReport, transportFeedback, payloadFeedback, extendedReport = 200, 201, 205, 206, 207

	formatNack, formatPLI, formatFIR, formatApplication, formatTransport = 1, 1, 4, 15, 15
)

const (
	headerLen   = 4 // RFC 3550 section 6.4.1
	senderLen   = 8 // header and the sender's SSRC
	senderInfo  = 20
	blockLen    = 24
	feedbackLen = 12 // RFC 4585 section 6.1: and the SSRC of the media
	firLen      = 8
)

// begin goes on to the next packet; false: there is none.
func (r *Reader) begin() bool {
	r.kind, r.info, r.left = 0, nil, nil
	if len(r.rest) < headerLen || r.rest[0]>>6 != 2 {
		return false
	}
	n := headerLen * (1 + int(binary.BigEndian.Uint16(r.rest[2:])))
	if n > len(r.rest) {
		return false
	}
	packet := r.rest[:n]
	r.rest = r.rest[n:]
	r.whole = packet
	if packet = unpadded(packet); len(packet) >= senderLen {
		r.sender = binary.BigEndian.Uint32(packet[headerLen:])
		r.open(packet[1], int(packet[0]&31), packet)
	}
	return true
}

// unpadded returns a packet without its padding (RFC 3550 section 6.4.1), empty
// if that is longer than it.
func unpadded(packet []byte) []byte {
	if padded := packet[0]&0x20 != 0; !padded {
		return packet
	}
	return packet[:max(0, len(packet)-int(packet[len(packet)-1]))]
}

// open finds the messages of a packet.
func (r *Reader) open(kind byte, count int, packet []byte) {
	r.media = 0
	switch kind {
	case senderReport:
		if len(packet) >= senderLen+senderInfo {
			r.info = packet[senderLen : senderLen+senderInfo]
		}
		r.blocks(packet, senderLen+senderInfo, count)
	case receiverReport:
		r.blocks(packet, senderLen, count)
	case extendedReport:
		r.kind, r.left = Time, packet[senderLen:]
	case transportFeedback, payloadFeedback:
		if len(packet) < feedbackLen {
			return
		}
		r.media = binary.BigEndian.Uint32(packet[senderLen:])
		r.feedback(kind, count, packet[feedbackLen:])
	}
}

// blocks reads count report blocks that begin at a place in the packet.
func (r *Reader) blocks(packet []byte, at, count int) {
	if len(packet) >= at+count*blockLen {
		r.kind, r.left = Report, packet[at:at+count*blockLen]
	}
}

func (r *Reader) feedback(kind byte, format int, what []byte) {
	switch {
	case kind == transportFeedback && format == formatNack:
		r.kind, r.left = Nack, what
	case kind == transportFeedback && format == formatTransport:
		r.kind, r.left = Arrivals, r.whole
	case kind == payloadFeedback && format == formatPLI:
		r.kind = Keyframe
	case kind == payloadFeedback && format == formatFIR:
		r.kind, r.left, r.media = Keyframe, what, 0
	case kind == payloadFeedback && format == formatApplication && len(what) >= 8 && string(what[:4]) == "REMB":
		r.kind, r.left = Estimate, what[4:8]
	}
}

// take reads the next message of the present packet.
func (r *Reader) take() (m Message, ok bool) {
	m = Message{Kind: r.kind, SSRC: r.media}
	switch {
	case r.info != nil:
		m = Message{Kind: SenderReport, SSRC: r.sender, NTP: binary.BigEndian.Uint64(r.info), RTP: binary.BigEndian.Uint32(r.info[8:])}
		r.info = nil
		return m, true
	case r.kind == Keyframe && r.media != 0: // PLI, which has no body
		r.kind = 0
		return m, true
	case r.kind == Report && len(r.left) >= blockLen:
		b := r.left[:blockLen]
		r.left = r.left[blockLen:]
		m.SSRC, m.Lost = binary.BigEndian.Uint32(b), b[4]
		m.Highest, m.Jitter = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		m.LastSR, m.Delay = binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
		return m, true
	case r.kind == Keyframe && len(r.left) >= firLen:
		m.SSRC = binary.BigEndian.Uint32(r.left)
		r.left = r.left[firLen:]
		return m, true
	case r.kind == Nack && len(r.left) >= pairLen:
		var n int
		m.Missing, n = Missing(r.left).most(r.missing)
		r.missing -= n
		r.left = nil
		return m, n > 0
	case r.kind == Estimate && len(r.left) > 0:
		// A mantissa of 18 bits and an exponent of 6 (section 2.2).
		v := binary.BigEndian.Uint32(r.left)
		r.left = nil
		m.SSRC = 0
		m.Bitrate = float64(v&(1<<18-1)) * float64(uint64(1)<<(v>>18&63))
		return m, true
	case r.kind == Arrivals && r.left != nil:
		m.Packet, r.left = r.left, nil
		return m, true
	case r.kind == Time:
		return r.time()
	}
	return Message{}, false
}

// time finds the block of an extended report that asks for the time.
func (r *Reader) time() (m Message, ok bool) {
	const header, receiverReference, length = 4, 4, 8 // RFC 3611 sections 3 and 4.4
	for len(r.left) >= header {
		kind, n := r.left[0], 4*int(binary.BigEndian.Uint16(r.left[2:]))
		if header+n > len(r.left) {
			break
		}
		block := r.left[header : header+n]
		r.left = r.left[header+n:]
		if kind == receiverReference && n == length {
			return Message{Kind: Time, SSRC: r.sender, NTP: binary.BigEndian.Uint64(block)}, true
		}
	}
	return Message{}, false
}
