package cdntest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// PublisherConfig sets up a [Publisher].
type PublisherConfig struct {
	// Net is where it sends from: a [Host]'s. If nil, the real network's
	// loopback address.
	Net cdn.Network
	// Dialer carries its offer to URL. Required.
	Dialer     signal.Dialer
	URL        string
	Stream     cdn.StreamID
	Credential string
	// Publication names what it sends, if another publisher sends it elsewhere.
	Publication string

	// Video and Audio are what it sends. If both are nil, one of each with all
	// defaults.
	Video *Video
	Audio *Audio

	// Seed tells what this publisher sends from what others do. If zero,
	// random.
	Seed uint32
	// SenderReports is the time between two sender reports of a track; the
	// first comes with its first packets. If zero, 1 s; if negative, none.
	SenderReports time.Duration
	// NoRTX: lost packets are not sent again.
	NoRTX bool

	// TCP: its media goes by TCP, to the first address that the server has for that
	// (RFC 6544). Net is a [Host]'s or nil.
	TCP bool

	// Certificate is its DTLS certificate. If nil, its [Network]'s, or a new
	// one.
	Certificate *webrtc.Certificate
	// Logger gets pion's messages. If nil, nobody does.
	Logger logging.LoggerFactory
	// Tune may change pion's settings before the connection is made.
	Tune func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error
}

// Video is what a [Publisher]'s video track looks like.
type Video struct {
	// Codec is VP8, H264, VP9, AV1 or H265, as a MIME type. If empty,
	// "video/VP8".
	Codec string
	Fmtp  string // the codec's parameters. If empty, common ones
	FPS   int    // frames a second. If zero, 30
	// Bitrate is in bits a second of RTP payload, for layers that have none
	// of their own. If zero, 1,000,000.
	Bitrate int
	// KeyframeInterval is the time from one keyframe to the next if nobody
	// asks for one. If zero, 2 s.
	KeyframeInterval time.Duration
	// Begins is how long after the connection was made the first frame is sent.
	Begins time.Duration
	// NoFirstKeyframe: the first frame is no keyframe, as if that had been lost.
	NoFirstKeyframe bool
	// NoRequestedKeyframes: it counts requests for keyframes, and does not answer
	// them.
	NoRequestedKeyframes bool
	// KeyframeScale is how much larger than others keyframes are. If zero, 4.
	KeyframeScale int
	// Temporal: frames of VP8 are of three temporal layers, in the pattern of libwebrtc: a
	// fourth of them of the lowest, and half of them of the lower two.
	Temporal bool
	// PayloadSize is the size of the largest RTP payload. If zero, 1200.
	PayloadSize int
	// Layers are the simulcast layers, the lowest first. If empty, there is
	// one layer, without a RID, of 320x180.
	Layers []VideoLayer
	// Extensions are the URIs of header extensions that are offered and, where
	// the server takes them, sent: audio level, abs-capture-time and
	// abs-send-time with fitting values, others with the frame's number.
	Extensions []string
}

// A VideoLayer is one simulcast layer of a [Video].
type VideoLayer struct {
	RID           string
	Bitrate       int // bits a second. If zero, the Video's
	Width, Height int
}

// Audio is what a [Publisher]'s Opus track looks like: 50 packets a second.
type Audio struct {
	// Stereo adds "stereo=1;sprop-stereo=1" to the parameters.
	Stereo  bool
	Bitrate int // bits a second of RTP payload. If zero, 48,000
	// Begins is how long after the connection was made the first packet is sent.
	Begins time.Duration
	// Extensions are as in [Video].
	Extensions []string
}

func (c PublisherConfig) withDefaults() PublisherConfig {
	if c.Video == nil && c.Audio == nil {
		c.Video, c.Audio = &Video{}, &Audio{}
	}
	if c.Video != nil {
		v := c.Video.withDefaults()
		c.Video = &v
	}
	if c.Audio != nil {
		a := *c.Audio
		setDefault(&a.Bitrate, 48_000)
		c.Audio = &a
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint32()
	}
	if c.SenderReports == 0 {
		c.SenderReports = time.Second
	}
	return c
}

func (v Video) withDefaults() Video {
	if v.Codec == "" {
		v.Codec = "video/VP8"
	}
	setDefault(&v.FPS, 30)
	setDefault(&v.Bitrate, 1_000_000)
	setDefault(&v.KeyframeInterval, 2*time.Second)
	setDefault(&v.KeyframeScale, 4)
	setDefault(&v.PayloadSize, 1200)
	if len(v.Layers) == 0 {
		v.Layers = []VideoLayer{{Width: 320, Height: 180}}
	}
	v.Layers = append([]VideoLayer(nil), v.Layers...)
	for i := range v.Layers {
		setDefault(&v.Layers[i].Bitrate, v.Bitrate)
	}
	return v
}

func setDefault[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

func (c PublisherConfig) client() clientConfig {
	return clientConfig{
		net: c.Net, dialer: c.Dialer, url: c.URL,
		offer:       signal.Offer{Stream: c.Stream, Credential: c.Credential, Publication: c.Publication},
		certificate: c.Certificate, logger: c.Logger, tune: c.Tune, tcp: c.TCP,
	}
}

func (c PublisherConfig) codecs() (codecSet, error) {
	set := codecSet{nack: !c.NoRTX, rtx: !c.NoRTX, extensions: map[cdn.Kind][]string{}}
	if v := c.Video; v != nil {
		codec, ok := findCodec(v.Codec, v.Fmtp)
		if !ok {
			return set, fmt.Errorf("cdntest: unknown codec %q", v.Codec)
		}
		if v.Temporal && !strings.EqualFold(v.Codec, "video/VP8") {
			return set, fmt.Errorf("cdntest: no temporal layers in %q", v.Codec)
		}
		set.video = []cdn.Codec{codec}
		set.extensions[cdn.Video] = append([]string{midURI, ridURI, repairedRIDURI}, v.Extensions...)
	}
	if a := c.Audio; a != nil {
		set.audio = []cdn.Codec{a.codec()}
		set.extensions[cdn.Audio] = append([]string{midURI}, a.Extensions...)
	}
	return set, nil
}

func (a Audio) codec() cdn.Codec {
	c := opusCodec()
	if a.Stereo {
		c.Fmtp += ";stereo=1;sprop-stereo=1"
	}
	return c
}

func itoa(i int) string { return strconv.Itoa(i) }
