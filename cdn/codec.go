package cdn

import "strings"

// Kind tells audio from video.
type Kind int

// The kinds of track.
const (
	Audio Kind = iota + 1
	Video
)

func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Video:
		return "video"
	}
	return "unknown"
}

// A Codec is a payload format as SDP names it. It travels through the CDN as
// the publisher wrote it.
type Codec struct {
	MimeType  string // "video/VP8", "audio/opus"; compared without regard to case
	ClockRate uint32 // RTP timestamp units a second
	Channels  uint16 // audio channels as in a=rtpmap; 0 where it names none
	Fmtp      string // the parameters of a=fmtp, without the payload type
}

// Is reports whether the codec's MIME type is mime, such as "video/VP8".
func (c Codec) Is(mime string) bool { return strings.EqualFold(c.MimeType, mime) }

// TrackInfo describes a track of a stream: it is what signaling and a
// [Directory] say about it.
type TrackInfo struct {
	ID    string // unique in its stream
	Kind  Kind
	Codec Codec
	// Layers names the track's RTP encodings (simulcast RIDs), the lowest
	// quality first where that is known. A track without simulcast has one
	// layer, named "".
	Layers []string
	// Extensions are the URIs of the RTP header extensions that travel with
	// its packets (RFC 8285). Index i has the extension id i+1 in a [Packet].
	Extensions []string
}
