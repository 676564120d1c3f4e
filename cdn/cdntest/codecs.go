package cdntest

import (
	"strings"

	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
)

// codecSet is what a client can send or receive.
type codecSet struct {
	video, audio []cdn.Codec
	nack, rtx    bool
	transport    bool                  // transport-wide feedback
	extensions   map[cdn.Kind][]string // URIs
}

// videoCodecs returns the codecs that a [Publisher] can send and, unless told
// otherwise, a [Viewer] receives.
func videoCodecs() []cdn.Codec {
	fmtp := map[string]string{
		"H264": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		"VP9":  "profile-id=0",
		"AV1":  "level-idx=5;profile=0;tier=0",
		"H265": "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
	}
	var all []cdn.Codec
	for _, name := range []string{"VP8", "H264", "VP9", "AV1", "H265"} {
		all = append(all, cdn.Codec{MimeType: "video/" + name, ClockRate: 90000, Fmtp: fmtp[name]})
	}
	return all
}

func opusCodec() cdn.Codec {
	return cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1"}
}

// findCodec returns the known codec called mime with fmtp, if that is given, in
// place of its usual parameters.
func findCodec(mime, fmtp string) (cdn.Codec, bool) {
	for _, c := range append(videoCodecs(), opusCodec()) {
		if strings.EqualFold(c.MimeType, mime) {
			if fmtp != "" {
				c.Fmtp = fmtp
			}
			return c, true
		}
	}
	return cdn.Codec{}, false
}

// register makes s all that m knows.
func (s codecSet) register(m *webrtc.MediaEngine) error {
	pt := webrtc.PayloadType(96)
	for _, c := range s.audio {
		if err := m.RegisterCodec(rtpCodec(c, pt, s.feedback()), webrtc.RTPCodecTypeAudio); err != nil {
			return err
		}
		pt++
	}
	for _, c := range s.video {
		err := m.RegisterCodec(rtpCodec(c, pt, append(videoFeedback(s.nack), s.feedback()...)), webrtc.RTPCodecTypeVideo)
		if err != nil {
			return err
		}
		if s.rtx {
			rtx := cdn.Codec{MimeType: webrtc.MimeTypeRTX, ClockRate: c.ClockRate, Fmtp: "apt=" + itoa(int(pt))}
			if err := m.RegisterCodec(rtpCodec(rtx, pt+1, nil), webrtc.RTPCodecTypeVideo); err != nil {
				return err
			}
		}
		pt += 2
	}
	for kind, uris := range s.extensions {
		for _, uri := range uris {
			err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, rtpKind(kind))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// feedback is what sound and video have in common.
func (s codecSet) feedback() (f []webrtc.RTCPFeedback) {
	if s.transport {
		f = append(f, webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC})
	}
	return f
}

func videoFeedback(nack bool) []webrtc.RTCPFeedback {
	f := []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}, {Type: "nack", Parameter: "pli"}}
	if nack {
		f = append(f, webrtc.RTCPFeedback{Type: "nack"})
	}
	return f
}

func rtpCodec(c cdn.Codec, pt webrtc.PayloadType, feedback []webrtc.RTCPFeedback) webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{RTPCodecCapability: capability(c, feedback), PayloadType: pt}
}

func capability(c cdn.Codec, feedback []webrtc.RTCPFeedback) webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{
		MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels,
		SDPFmtpLine: c.Fmtp, RTCPFeedback: feedback,
	}
}

func rtpKind(k cdn.Kind) webrtc.RTPCodecType {
	if k == cdn.Audio {
		return webrtc.RTPCodecTypeAudio
	}
	return webrtc.RTPCodecTypeVideo
}

func cdnKind(k webrtc.RTPCodecType) cdn.Kind {
	if k == webrtc.RTPCodecTypeAudio {
		return cdn.Audio
	}
	return cdn.Video
}
