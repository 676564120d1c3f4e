package cdntest

import (
	"fmt"
	"strings"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// ViewerConfig sets up a [Viewer].
type ViewerConfig struct {
	// Net is where it receives: a [Host]'s. If nil, the real network's
	// loopback address.
	Net cdn.Network
	// Dialer carries its offer to URL. Required.
	Dialer     signal.Dialer
	URL        string
	Stream     cdn.StreamID
	Layer      string // the simulcast layer it wants. If empty, the best
	Credential string
	// Invited: the server makes the offer ([signal.Offerer]).
	Invited bool

	// Kinds are what it wants of the stream. If empty, audio and video.
	Kinds []cdn.Kind
	// Codecs are the MIME types that it can receive. If empty, all that a
	// [Publisher] can send.
	Codecs []string
	// Extensions are the URIs of the header extensions that it takes.
	Extensions []string

	// NoNACK: it asks for no lost packet again. NoRTX: it does, but takes the
	// answer only as the lost packet itself.
	NoNACK, NoRTX bool
	// ReceiverReports is the time between two receiver reports. If zero, 1 s;
	// if negative, none.
	ReceiverReports time.Duration
	// TransportFeedback: it offers transport-wide feedback
	// (draft-holmer-rmcat-transport-wide-cc-extensions-01) for audio and video and, for
	// packets that have such numbers, sends it each 50 ms, as Chromium does at some
	// 200 kbit/s and more.
	TransportFeedback bool
	// Mute: it sends no RTCP at all, as a viewer does whose way back is
	// blocked.
	Mute bool

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

const (
	transportFeedbackEvery = 50 * time.Millisecond
	transportFeedbackURI   = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// feedback returns what sends the viewer's regular RTCP.
func (c ViewerConfig) feedback() ([]interceptor.Factory, error) {
	var all []interceptor.Factory
	if c.ReceiverReports > 0 && !c.Mute {
		f, err := report.NewReceiverInterceptor(report.ReceiverInterval(c.ReceiverReports))
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if c.TransportFeedback && !c.Mute {
		f, err := twcc.NewSenderInterceptor(twcc.SendInterval(transportFeedbackEvery))
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (c ViewerConfig) withDefaults() ViewerConfig {
	if len(c.Kinds) == 0 {
		c.Kinds = []cdn.Kind{cdn.Video, cdn.Audio}
	}
	if len(c.Codecs) == 0 {
		for _, codec := range append(videoCodecs(), opusCodec()) {
			c.Codecs = append(c.Codecs, codec.MimeType)
		}
	}
	if c.ReceiverReports == 0 {
		c.ReceiverReports = time.Second
	}
	return c
}

func (c ViewerConfig) client() clientConfig {
	return clientConfig{
		net: c.Net, dialer: c.Dialer, url: c.URL,
		offer:       signal.Offer{Stream: c.Stream, Layer: c.Layer, Credential: c.Credential},
		certificate: c.Certificate, logger: c.Logger, tune: c.Tune, tcp: c.TCP,
	}
}

func (c ViewerConfig) codecs() (codecSet, error) {
	set := codecSet{rtx: !c.NoRTX, nack: !c.NoNACK, transport: c.TransportFeedback, extensions: map[cdn.Kind][]string{}}
	for _, mime := range c.Codecs {
		codec, ok := findCodec(mime, "")
		switch {
		case !ok:
			return set, fmt.Errorf("cdntest: unknown codec %q", mime)
		case strings.HasPrefix(strings.ToLower(mime), "audio/"):
			set.audio = append(set.audio, codec)
		default:
			set.video = append(set.video, codec)
		}
	}
	for _, k := range []cdn.Kind{cdn.Audio, cdn.Video} {
		set.extensions[k] = append([]string{midURI}, c.Extensions...)
		if c.TransportFeedback {
			set.extensions[k] = append(set.extensions[k], transportFeedbackURI)
		}
	}
	return set, nil
}
