package pcsend

import (
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send"
)

// track is pion's TrackLocal for one sender: pion tells it where and how to
// write.
type track struct {
	sender *send.Sender
	line   *send.Line
	codec  sdp.Codec
	rid    string

	transceiver *webrtc.RTPTransceiver // of an offer of ours: it knows the mid
}

// ID names the track: a node that receives it reads the name in a=msid.
func (t *track) ID() string       { return t.line.Track.Info().ID }
func (t *track) RID() string      { return t.rid }
func (t *track) StreamID() string { return "delta" }

func (t *track) Kind() webrtc.RTPCodecType {
	if t.line.Track.Info().Kind == cdn.Video {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

func (t *track) parameters() webrtc.RTPCodecParameters {
	c := t.codec
	p := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, SDPFmtpLine: c.Fmtp,
		},
		PayloadType: webrtc.PayloadType(c.PT),
	}
	for _, fb := range c.Feedback {
		name, param, _ := strings.Cut(fb, " ")
		p.RTCPFeedback = append(p.RTCPFeedback, webrtc.RTCPFeedback{Type: name, Parameter: param})
	}
	return p
}

// Bind is called by pion once negotiation is over.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	o := send.Output{To: writer{c.WriteStream()}, SSRC: uint32(c.SSRC()), Extensions: make(map[string]uint8)}
	if t.line.RTX != 0 {
		o.RTX = uint32(c.SSRCRetransmission())
	}
	for _, e := range c.HeaderExtensions() {
		o.Extensions[e.URI] = uint8(e.ID)
	}
	if t.transceiver != nil {
		o.Mid = t.transceiver.Mid()
	}
	t.sender.Bind(o)
	return t.parameters(), nil
}

// Unbind is called by pion when the connection closes.
func (t *track) Unbind(webrtc.TrackLocalContext) error {
	t.sender.Unbind()
	return nil
}

// writer is pion's.
type writer struct{ to webrtc.TrackLocalWriter }

// WriteRTP implements send.RTPWriter. Interceptors may change the header.
func (w writer) WriteRTP(header, payload []byte) (int, error) {
	var h rtp.Header
	if _, err := h.Unmarshal(header); err != nil {
		return 0, err
	}
	return w.to.WriteRTP(&h, payload)
}
