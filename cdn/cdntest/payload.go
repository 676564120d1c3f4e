package cdntest

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// payload returns the RTP payload of the packet that b describes, size bytes
// long (longer where the headers alone are). The headers are those that an
// encoder would write, so that what looks for frames and keyframes finds them;
// behind them there are no pictures, but b.
func payload(mime string, b body, size int) []byte {
	return appendPayload(make([]byte, 0, max(size, 96)), mime, b, size)
}

// appendPayload appends the payload to p, which is empty.
func appendPayload(p []byte, mime string, b body, size int) []byte {
	switch {
	case strings.EqualFold(mime, "video/VP8"):
		p = vp8Header(p, b)
	case strings.EqualFold(mime, "video/VP9"):
		p = vp9Header(p, b)
	case strings.EqualFold(mime, "video/AV1"):
		p = av1Header(p, b)
	case strings.EqualFold(mime, "video/H264"):
		return h264Payload(p, b, size)
	case strings.EqualFold(mime, "video/H265"):
		return h265Payload(p, b, size)
	case strings.EqualFold(mime, "audio/opus"):
		p = append(p, 0xFC) // RFC 6716 section 3.1: CELT, full band, 20 ms, stereo, one frame
	}
	return b.append(p, size)
}

func (b body) first() bool { return b.index == 0 }
func (b body) last() bool  { return b.index+1 == b.count }

// vp8Header appends a payload descriptor with a 15-bit picture id and, if there are
// several, the temporal layer (RFC 7741 section 4.2). At the frame's start the frame tag
// follows (RFC 6386 section 9.1).
func vp8Header(p []byte, b body) []byte {
	start := byte(0)
	if b.first() {
		start = 0x10 // S
	}
	fields := byte(0x80) // I
	if b.temporal.used {
		fields = 0xE0 // and L, T
	}
	p = append(p, 0x80|start, fields) // X
	p = binary.BigEndian.AppendUint16(p, 0x8000|uint16(b.frame))
	if t := b.temporal; t.used {
		place := t.layer << 6
		if t.sync {
			place |= 0x20 // Y
		}
		p = append(p, t.tl0, place)
	}
	switch {
	case !b.first():
	case b.key:
		p = append(p, 0x10, 0, 0, 0x9D, 0x01, 0x2A) // shown keyframe, start code
		p = binary.LittleEndian.AppendUint16(p, b.width&0x3FFF)
		p = binary.LittleEndian.AppendUint16(p, b.height&0x3FFF)
	default:
		p = append(p, 0x11, 0, 0)
	}
	return p
}

// vp9Header appends a payload descriptor in non-flexible mode (RFC 9628 section
// 4.2), with the scalability structure on keyframes, and the beginning of the
// uncompressed header.
func vp9Header(p []byte, b body) []byte {
	flags := byte(0x80) // I
	if !b.key {
		flags |= 0x40 // P
	}
	if b.first() {
		flags |= 0x08 // B
	}
	if b.last() {
		flags |= 0x04 // E
	}
	structure := b.key && b.first()
	if structure {
		flags |= 0x02 // V
	}
	p = append(p, flags)
	p = binary.BigEndian.AppendUint16(p, 0x8000|uint16(b.frame))
	if structure {
		p = append(p, 0x10) // one spatial layer, with its size, no groups
		p = binary.BigEndian.AppendUint16(p, b.width)
		p = binary.BigEndian.AppendUint16(p, b.height)
	}
	switch {
	case !b.first():
	case b.key:
		p = append(p, 0x82, 0x49, 0x83, 0x42)
	default:
		p = append(p, 0x86)
	}
	return p
}

// av1Sequence is a sequence header OBU without its size: 320x180, main profile.
const av1Sequence = "\x08\x00\x00\x00\x02\xAF\xFF\x9C\xE6\x8C\x20\x40"

// av1Header appends an aggregation header (AV1 RTP specification section 4.4),
// a sequence header before keyframes, and the beginning of a frame OBU.
func av1Header(p []byte, b body) []byte {
	aggregation := byte(0x10) // W=1: one OBU element, whose size is not written
	if !b.first() {
		aggregation |= 0x80 // Z: goes on from the packet before
	}
	if !b.last() {
		aggregation |= 0x40 // Y: goes on in the next packet
	}
	switch {
	case !b.first():
		return append(p, aggregation)
	case b.key:
		p = append(p, aggregation&^0x30|0x20|0x08, byte(len(av1Sequence))) // W=2, N
		p = append(p, av1Sequence...)
		return append(p, 0x30, 0x10) // OBU_FRAME: shown keyframe
	}
	return append(p, aggregation, 0x30, 0x30) // shown inter frame
}

// Parameter sets of 320x180 pictures, and of constrained baseline H.264.
const (
	h264SPS = "\x67\x42\xC0\x1E\xD9\x01\x41\x8F\x2F\xFE\x02\x10\x01\x6A\x02\x02\x02\x80"
	h264PPS = "\x68\xCB\x83\xCB\x20"
	h265VPS = "\x40\x01\x0C\x01\xFF\xFF\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3F\x95\x98\x09"
	h265SPS = "\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3F\xA0\x0A\x08\x0B\x9F"
	h265PPS = "\x44\x01\xC1\x72\xB4\x62\x40"
)

// h264Payload makes a keyframe's first packet a STAP-A of SPS, PPS and an SEI
// with the body, and of the rest one slice, in FU-As (RFC 6184 section 5.8) or,
// where it has a packet to itself, whole. A keyframe of one packet has its slice
// in the STAP-A.
func h264Payload(p []byte, b body, size int) []byte {
	const sei, slice, idr, stapA, fuA = 0x06, 0x41, 0x65, 0x78, 0x7C
	if b.key && b.first() {
		p = appendSized(append(p, stapA), h264SPS, h264PPS)
		if b.count > 1 {
			return appendLast(p, b, size, sei)
		}
		return appendLast(p, b, size, idr)
	}
	nal, packets, i := byte(slice), b.count, b.index
	if b.key {
		nal, packets, i = idr, packets-1, i-1
	}
	if packets == 1 {
		return b.append(append(p, nal), size)
	}
	return b.append(append(p, fuA, fuFlags(i, packets)|nal&0x1F), size)
}

// h265Payload is [h264Payload] for H.265 (RFC 7798 section 4.4).
func h265Payload(p []byte, b body, size int) []byte {
	const trail, idr, sei, ap, fu = 1, 19, 39, 48, 49
	if b.key && b.first() {
		p = appendSized(append(p, ap<<1, 1), h265VPS, h265SPS, h265PPS)
		if b.count > 1 {
			return appendLast(p, b, size, sei<<1, 1)
		}
		return appendLast(p, b, size, idr<<1, 1)
	}
	nal, packets, i := byte(trail), b.count, b.index
	if b.key {
		nal, packets, i = idr, packets-1, i-1
	}
	if packets == 1 {
		return b.append(append(p, nal<<1, 1), size)
	}
	return b.append(append(p, fu<<1, 1, fuFlags(i, packets)|nal), size)
}

// fuFlags returns the start and end bits of fragment i of count.
func fuFlags(i, count uint16) byte {
	switch {
	case i == 0:
		return 0x80
	case i+1 == count:
		return 0x40
	}
	return 0
}

func appendSized(p []byte, units ...string) []byte {
	for _, u := range units {
		p = binary.BigEndian.AppendUint16(p, uint16(len(u)))
		p = append(p, u...)
	}
	return p
}

// appendLast appends the last unit of an aggregation packet: header and body.
func appendLast(p []byte, b body, size int, header ...byte) []byte {
	at := len(p)
	p = append(p, 0, 0)
	p = append(p, header...)
	p = b.append(p, size)
	binary.BigEndian.PutUint16(p[at:], uint16(len(p)-at-2))
	return p
}

// samePayload reports whether got is the payload that b's publisher sent. A
// hop may rewrite picture identifiers, so those are not compared. What the payload was
// is left in scratch.
func samePayload(mime string, b body, bodyAt int, got []byte, scratch *[]byte) bool {
	*scratch = appendPayload((*scratch)[:0], mime, b, len(got))
	want := *scratch
	if len(want) != len(got) {
		return false
	}
	from, to := pictureID(mime)
	if b.temporal.used {
		to++ // TL0PICIDX
	}
	to = min(to, bodyAt)
	return bytes.Equal(want[:from], got[:from]) && bytes.Equal(want[to:], got[to:])
}

// pictureID returns where in a payload the picture identifier is.
func pictureID(mime string) (from, to int) {
	switch {
	case strings.EqualFold(mime, "video/VP8"):
		return 2, 4
	case strings.EqualFold(mime, "video/VP9"):
		return 1, 3
	}
	return 0, 0
}
