// Package payload splits frames into RTP payloads and joins payloads to frames,
// by codec. It knows the payload formats and nothing of streams, clocks or
// sequence numbers.
//
// A frame is what a decoder takes at once:
//
//	video/VP8, video/VP9    one frame
//	video/AV1               one temporal unit in the low-overhead format (AV1 section 5.2)
//	video/H264, video/H265  one access unit in the byte stream format (Annex B)
//	audio/opus, audio/PCMU, audio/PCMA, audio/G722  one packet
package payload

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// ErrMalformed says that a frame or a payload is not what its codec wants.
var ErrMalformed = errors.New("malformed")

// A Packetizer splits the frames of one track. Its methods must not be called
// concurrently.
type Packetizer struct {
	split func(frame []byte, size int) ([][]byte, error)
}

// NewPacketizer returns a Packetizer for a MIME type, without regard to case;
// false where frames of that type cannot be split.
func NewPacketizer(mime string) (*Packetizer, bool) {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return &Packetizer{by(&vp8{picture: uint16(rand.Uint32())})}, true
	case "video/vp9":
		return &Packetizer{by(&vp9{})}, true
	case "video/av1":
		return &Packetizer{av1}, true
	case "video/h264":
		// Aggregated, all but one parameter set of a kind would be lost.
		b := &byteStream{split: &codecs.H264Payloader{DisableStapA: true}, picture: h264Picture}
		return &Packetizer{b.payloads}, true
	case "video/h265":
		b := &byteStream{split: &codecs.H265Payloader{}, picture: h265Picture}
		return &Packetizer{b.payloads}, true
	case "audio/opus", "audio/pcmu", "audio/pcma", "audio/g722":
		return &Packetizer{by(whole{})}, true
	}
	return nil, false
}

// Split returns the payloads of a frame, none of more than size bytes. There are none for
// parameter sets of H.264 and H.265 without a picture: they go out with the next frame. The
// payloads are the caller's; the frame is only read. Errors wrap [ErrMalformed].
func (p *Packetizer) Split(frame []byte, size int) ([][]byte, error) {
	all, err := p.split(frame, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, one := range all {
		if len(one) > size {
			return nil, fmt.Errorf("%w: a frame of %d bytes does not fit into one packet", ErrMalformed, len(frame))
		}
	}
	return all, nil
}

// by returns what splits frames with s, each into one payload at least.
func by(s rtp.Payloader) func(frame []byte, size int) ([][]byte, error) {
	return func(frame []byte, size int) ([][]byte, error) {
		all := s.Payload(uint16(size), frame)
		if len(all) == 0 {
			return nil, fmt.Errorf("a frame of %d bytes has nothing to send", len(frame))
		}
		return all, nil
	}
}

func av1(frame []byte, size int) ([][]byte, error) {
	if err := checkOBUs(frame); err != nil {
		return nil, err
	}
	return by(&codecs.AV1Payloader{})(frame, size)
}

// vp9 writes the descriptor of RFC 9628 section 4.2.
type vp9 struct{ codecs.VP9Payloader }

func (v *vp9) Payload(size uint16, frame []byte) [][]byte {
	const hasPicture, predicted, begins, ends = 0x80, 0x40, 0x08, 0x04
	all := v.VP9Payloader.Payload(size, frame)
	if len(all) == 1 && showsExisting(frame) { // which is taken for a keyframe of no size
		all[0] = append([]byte{hasPicture | predicted | begins | ends, all[0][1], all[0][2]}, frame...)
	}
	return all
}

// showsExisting reports whether a frame of VP9 only says which of those before it is to be
// shown (VP9 section 6.2).
func showsExisting(frame []byte) bool {
	b := frame[0]
	if b&0x30 == 0x30 { // profile 3 has a reserved bit more
		b <<= 1
	}
	return b&0x08 != 0
}

// whole is the payload format of codecs whose frames are payloads: Opus (RFC 7587
// section 4.2) and G.711 and G.722 (RFC 3551).
type whole struct{}

func (whole) Payload(_ uint16, frame []byte) [][]byte {
	if len(frame) == 0 {
		return nil
	}
	return [][]byte{slices.Clone(frame)}
}

// vp8 writes the descriptor of RFC 7741 section 4.2 with picture IDs of 15 bits.
type vp8 struct{ picture uint16 }

const vp8Header = 4

func (v *vp8) Payload(size uint16, frame []byte) (all [][]byte) {
	most := int(size) - vp8Header
	if most <= 0 {
		return nil
	}
	start := byte(0x10) // S
	for part := range slices.Chunk(frame, most) {
		one := make([]byte, 0, vp8Header+len(part))
		one = append(one, 0x80|start, 0x80, 0x80|byte(v.picture>>8), byte(v.picture)) // X; I; picture ID
		all = append(all, append(one, part...))
		start = 0
	}
	v.picture = (v.picture + 1) & 0x7fff
	return all
}

// A Joiner makes frames of payloads, of one track. Its methods must not be called
// concurrently.
type Joiner struct {
	fresh  func() depacketizer
	prefix []byte // of each frame
}

type depacketizer interface {
	Unmarshal(payload []byte) ([]byte, error)
}

// temporalDelimiter begins each temporal unit of AV1 (AV1 section 5.6). It is not
// sent by RTP.
var temporalDelimiter = []byte{0x12, 0x00}

// NewJoiner returns a Joiner for a MIME type, without regard to case; false where
// payloads of that type cannot be joined.
func NewJoiner(mime string) (*Joiner, bool) {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return &Joiner{fresh: func() depacketizer { return &codecs.VP8Packet{} }}, true
	case "video/vp9":
		return &Joiner{fresh: func() depacketizer { return &codecs.VP9Packet{} }}, true
	case "video/av1":
		return &Joiner{fresh: func() depacketizer { return &codecs.AV1Depacketizer{} }, prefix: temporalDelimiter}, true
	case "video/h264":
		return &Joiner{fresh: func() depacketizer { return &h264{} }}, true
	case "video/h265":
		return &Joiner{fresh: func() depacketizer { return &h265{} }}, true
	case "audio/opus", "audio/pcmu", "audio/pcma", "audio/g722":
		return &Joiner{fresh: func() depacketizer { return verbatim{} }}, true
	}
	return nil, false
}

type verbatim struct{}

func (verbatim) Unmarshal(payload []byte) ([]byte, error) { return payload, nil }

// Join returns the frame whose payloads are given, all of them and in order. The
// frame is the caller's; the payloads are only read. Errors wrap [ErrMalformed].
func (j *Joiner) Join(payloads [][]byte) ([]byte, error) {
	size := len(j.prefix)
	for _, p := range payloads {
		size += len(p) + 4 // of start codes
	}
	frame := append(make([]byte, 0, size), j.prefix...)
	d := j.fresh()
	for _, p := range payloads {
		if len(p) == 0 {
			continue
		}
		part, err := d.Unmarshal(p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		frame = append(frame, part...)
	}
	if len(frame) == len(j.prefix) {
		return nil, fmt.Errorf("%w: the frame is empty", ErrMalformed)
	}
	return frame, nil
}
