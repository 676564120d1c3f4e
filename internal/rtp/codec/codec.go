// Package codec looks into RTP payloads as far as forwarding needs: where a
// decoder can begin, where pictures begin, and the identifiers that run through
// them. Nothing that is called for a packet allocates, nothing keeps a payload,
// and a malformed payload is never more than unknown. All functions are safe
// for concurrent use, as far as callers do not write to one payload at a time.
package codec

import "strings"

// Info is what a payload tells about its place in the stream.
type Info struct {
	// Keyframe: the payload begins a frame that can be decoded without any
	// other. Parameter sets that the frame needs may be ahead of it, in packets
	// of their own.
	Keyframe bool
	// Unproved: Keyframe rests on a bit that ciphertext has as often as not. The
	// frame's own header does not confirm it.
	Unproved bool
	// FrameStart: the payload begins a frame, as far as it tells: with some
	// codecs and senders only a new timestamp does. Every keyframe is one.
	FrameStart bool
	// Parameters are the parameter sets in the payload. Later keyframes may come
	// without them.
	Parameters Sets
	// Mixed: the payload has parts of a frame beside its parameter sets.
	Mixed bool
}

// Sets are kinds of parameter sets, as a bit mask.
type Sets uint8

// The kinds of parameter sets. AV1 calls its one kind a sequence header.
const (
	VideoSet    Sets = 1 << iota // VPS of H.265
	SequenceSet                  // SPS, or sequence header
	PictureSet                   // PPS
)

// An Inspector looks into the payloads of one codec. What it cannot read has a
// zero Info.
type Inspector func(payload []byte) Info

// For returns the inspector for a MIME type, such as "video/VP8", without
// regard to case; nil where there is none.
func For(mime string) Inspector {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return vp8
	case "video/vp9":
		return vp9
	case "video/h264":
		return h264
	case "video/h265":
		return h265
	case "video/av1":
		return av1
	}
	return nil
}
