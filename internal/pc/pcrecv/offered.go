package pcrecv

import (
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
)

// offered are the codecs in which we ask a server for a stream, all that browsers can
// decode. The first payload type that is not theirs is that of retransmissions.
var offered = []struct {
	kind cdn.Kind
	sdp.Codec
}{
	{cdn.Audio, sdp.Codec{Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1;stereo=1"}, PT: 111}},
	{cdn.Audio, sdp.Codec{Codec: cdn.Codec{MimeType: "audio/G722", ClockRate: 8000}, PT: 9}},
	{cdn.Audio, sdp.Codec{Codec: cdn.Codec{MimeType: "audio/PCMU", ClockRate: 8000}, PT: 0}},
	{cdn.Audio, sdp.Codec{Codec: cdn.Codec{MimeType: "audio/PCMA", ClockRate: 8000}, PT: 8}},
	{cdn.Video, sdp.Codec{Codec: video("H264", h264+"42e01f"), PT: 96, RTX: 97}},
	{cdn.Video, sdp.Codec{Codec: video("H264", h264+"42001f"), PT: 98, RTX: 99}},
	{cdn.Video, sdp.Codec{Codec: video("H264", h264+"4d001f"), PT: 100, RTX: 101}},
	{cdn.Video, sdp.Codec{Codec: video("H264", h264+"64001f"), PT: 102, RTX: 103}},
	{cdn.Video, sdp.Codec{Codec: video("H264", "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"), PT: 104, RTX: 105}},
	{cdn.Video, sdp.Codec{Codec: video("VP8", ""), PT: 106, RTX: 107}},
	{cdn.Video, sdp.Codec{Codec: video("VP9", "profile-id=0"), PT: 108, RTX: 109}},
	{cdn.Video, sdp.Codec{Codec: video("AV1", "level-idx=5;profile=0;tier=0"), PT: 112, RTX: 113}},
	{cdn.Video, sdp.Codec{Codec: video("H265", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"), PT: 114, RTX: 115}},
}

const h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="

func video(name, fmtp string) cdn.Codec {
	return cdn.Codec{MimeType: "video/" + name, ClockRate: 90000, Fmtp: fmtp}
}

// offeredExtensions are the header extensions that we ask for: those that travel on,
// and those that the hop needs.
var offeredExtensions = map[cdn.Kind][]string{
	cdn.Audio: {sdp.URIMid, sdp.URITransportCC, "urn:ietf:params:rtp-hdrext:ssrc-audio-level", uriCaptureTime},
	cdn.Video: {
		sdp.URIMid, sdp.URIRid, sdp.URIRepairedRid, sdp.URITransportCC, uriCaptureTime, "urn:3gpp:video-orientation",
		"http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
		"https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
	},
}

const uriCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

// offeredFeedback is what we say of a codec by RTCP.
var offeredFeedback = map[cdn.Kind][]string{
	cdn.Audio: {"transport-cc", "nack"},
	cdn.Video: {"transport-cc", "nack", "nack pli", "ccm fir"},
}

// offerEngine returns a MediaEngine that offers all that is offered.
func offerEngine() (*webrtc.MediaEngine, error) {
	engine := &webrtc.MediaEngine{}
	for _, o := range offered {
		c := o.Codec
		c.Feedback = offeredFeedback[o.kind]
		if err := sdp.Register(engine, o.kind, c, offeredExtensions[o.kind]); err != nil {
			return nil, err
		}
	}
	return engine, nil
}
