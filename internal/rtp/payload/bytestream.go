package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// A byteStream splits access units of H.264 or H.265 in the byte stream format (Annex B of
// both). Parameter sets that come in a sample of their own, as readers of files and of RTSP
// return them, are sent with the next picture: alone, they would be a frame without a picture.
type byteStream struct {
	split   rtp.Payloader
	picture func(header byte) bool // reports whether a NAL unit is part of a picture
	ahead   []byte                 // of the next picture
}

// maxAhead bounds what waits for a picture, in bytes.
const maxAhead = 64 << 10

func h264Picture(header byte) bool {
	kind := header & 0x1f
	return kind >= 1 && kind <= 5 // H.264 table 7-1: VCL
}

func h265Picture(header byte) bool { return header>>1&0x3f < 32 } // H.265 table 7-1: VCL

var (
	errNoStartCode = errors.New("no start code at the beginning: lengths ahead of NAL units (AVCC) are not taken")
	errNoPicture   = errors.New("parameter sets without a picture")
)

// payloads returns the payloads of an access unit, and none if there is no picture in it yet.
func (b *byteStream) payloads(unit []byte, size int) ([][]byte, error) {
	first := bytes.TrimLeft(unit, "\x00")
	if len(unit)-len(first) < 2 || len(first) == 0 || first[0] != 1 {
		return nil, errNoStartCode
	}
	whole := slices.Concat(b.ahead, unit) // a copy: the payloads are the caller's
	b.ahead = nil
	if b.hasPicture(unit) {
		return by(b.split)(whole, size)
	}
	if len(whole) > maxAhead {
		return nil, errNoPicture
	}
	b.ahead = whole
	return nil, nil
}

// hasPicture reports whether one of the NAL units of an access unit is part of a picture.
func (b *byteStream) hasPicture(unit []byte) bool {
	for {
		_, rest, found := bytes.Cut(unit, []byte{0, 0, 1})
		if !found || len(rest) == 0 {
			return false
		}
		if b.picture(rest[0]) {
			return true
		}
		unit = rest
	}
}

// h264 joins NAL units of H.264, without those of no known type, which decoders ignore.
type h264 struct{ codecs.H264Packet }

func (d *h264) Unmarshal(payload []byte) ([]byte, error) {
	switch payload[0] & 0x1f {
	case 0, 30, 31: // RFC 6184 table 1
		return nil, nil
	}
	return d.H264Packet.Unmarshal(payload)
}

// h265 joins NAL units of H.265. Those that end a sequence or the stream have a header alone.
type h265 struct{ codecs.H265Depacketizer }

func (d *h265) Unmarshal(payload []byte) ([]byte, error) {
	const endOfSequence, endOfBitstream = 36, 37 // H.265 table 7-1
	if kind := payload[0] >> 1 & 0x3f; len(payload) == 2 && (kind == endOfSequence || kind == endOfBitstream) {
		return append([]byte{0, 0, 0, 1}, payload...), nil
	}
	return d.H265Depacketizer.Unmarshal(payload)
}

// checkOBUs returns an error unless unit is a temporal unit of AV1 in the low-overhead format
// (AV1 section 5.3). If the sizes in it were wrong, only its first part would be sent.
func checkOBUs(unit []byte) error {
	const hasExtension, hasSize, forbidden = 0x04, 0x02, 0x80
	for len(unit) > 0 {
		header := unit[0]
		unit = unit[1:]
		if header&forbidden != 0 {
			return errors.New("an OBU with its forbidden bit set")
		}
		if header&hasExtension != 0 {
			unit = unit[min(1, len(unit)):]
		}
		if header&hasSize == 0 {
			return nil // it is the last
		}
		n, used := binary.Uvarint(unit) // which is leb128
		if used <= 0 || n > uint64(len(unit)-used) {
			return fmt.Errorf("an OBU of %d bytes, of which %d are there", n, len(unit)-used)
		}
		unit = unit[used+int(n):]
	}
	return nil
}
