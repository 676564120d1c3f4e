package viewer_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	pionsdp "github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// signals is what clients are answered of transport-cc and abs-send-time, for video and
// for sound.
var signals = map[string]struct{ video, audio string }{
	"chromium-video-audio":  {"transport-cc abs-send-time", "transport-cc"},
	"chromium-two-videos":   {"transport-cc abs-send-time", "transport-cc"},
	"chromium-max-compat":   {"transport-cc abs-send-time", "transport-cc"},
	"firefox-video-audio":   {"transport-cc abs-send-time", "transport-cc"},
	"libwebrtc-video-audio": {"transport-cc abs-send-time", "transport-cc"},
	"libwebrtc-plan-b":      {"transport-cc abs-send-time", "transport-cc"},
	"handwritten-safari":    {"transport-cc abs-send-time", "transport-cc"},
	"handwritten-safari-12": {"transport-cc abs-send-time", ""},
	"handwritten-directed":  {"abs-send-time", ""},
	"handwritten-savpf":     {"abs-send-time", ""},
	"pion-video-audio":      {"transport-cc", "transport-cc"},
	"pion-bare":             {"", "transport-cc"}, // NACKs without RTX
	"aiortc-video-audio":    {"abs-send-time", ""},
	"gstreamer-nack":        {"", ""}, // feedback without header extensions
	"gstreamer-max-bundle":  {"", ""},
	"werift-video-audio":    {"", ""},
}

// Each client is answered the best that it offers, in each m-section; before the stream is
// known, for each format.
func TestSignals(t *testing.T) {
	node, all := shelf(t)
	for name, offer := range readOffers(t) {
		t.Run(name, func(t *testing.T) {
			var answers []string
			for _, stream := range all {
				if answer, err := answerTo(node, stream, offer); err == nil {
					answers = append(answers, answer)
				}
			}
			if before, err := answerBefore(node, offer); err == nil {
				answers = append(answers, before.SDP())
				require.NoError(t, before.Close())
			}
			require.NotEmpty(t, answers)
			for _, answer := range answers {
				requireSignals(t, name, offer, answer)
			}
		})
	}
}

func requireSignals(t *testing.T, name, offer, answer string) {
	o, a := parse(t, offer), parse(t, answer)
	for i, ours := range a.MediaDescriptions {
		if !has(ours.Attributes, "sendonly") {
			continue
		}
		theirs := o.MediaDescriptions[i]
		numbers, times := false, false
		for k, pt := range ours.MediaName.Formats {
			offered := append(values(theirs.Attributes, "rtcp-fb", pt), values(theirs.Attributes, "rtcp-fb", "*")...)
			if strings.HasPrefix(values(ours.Attributes, "rtpmap", pt)[0], "rtx/") {
				continue
			}
			rtx := k+1 < len(ours.MediaName.Formats) && slices.Equal(values(ours.Attributes, "fmtp", ours.MediaName.Formats[k+1]), []string{"apt=" + pt})
			repeated := !rtx && slices.Contains(offered, "nack")
			number := !repeated && slices.Contains(offered, "transport-cc") && extended(theirs, sdp.URITransportCC)
			require.Equal(t, number, slices.Contains(values(ours.Attributes, "rtcp-fb", pt), "transport-cc"), pt)
			numbers = numbers || number
			times = times || !repeated && slices.Contains(offered, "goog-remb") && extended(theirs, sdp.URIAbsSendTime)
		}
		require.Equal(t, numbers, extended(ours, sdp.URITransportCC))
		require.Equal(t, times, extended(ours, sdp.URIAbsSendTime))
		if want, ok := signals[name]; ok {
			var got []string
			if numbers {
				got = append(got, "transport-cc")
			}
			if times {
				got = append(got, "abs-send-time")
			}
			wanted := want.video
			if ours.MediaName.Media == "audio" {
				wanted = want.audio
			}
			require.Equal(t, wanted, strings.Join(got, " "), ours.MediaName.Media)
		}
	}
}

// extended reports whether an m-section has a header extension.
func extended(m *pionsdp.MediaDescription, uri string) bool {
	return slices.ContainsFunc(values(m.Attributes, "extmap", ""), func(v string) bool { return slices.Contains(strings.Fields(v), uri) })
}

// extensionID returns the id under which a receiver has negotiated a header extension (RFC
// 8285), or 0.
func extensionID(receiver *webrtc.RTPReceiver, uri string) uint8 {
	for _, e := range receiver.GetParameters().HeaderExtensions {
		if e.URI == uri {
			return uint8(e.ID)
		}
	}
	return 0
}

// A client that asks for it, and for nothing better, is told by each packet of video when it
// left.
func TestSendTimesArrive(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		media := &webrtc.MediaEngine{}
		require.NoError(t, media.RegisterDefaultCodecs())
		require.NoError(t, media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.URIAbsSendTime}, webrtc.RTPCodecTypeVideo))
		var s webrtc.SettingEngine
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
		p.network.Host("viewer", cdntest.Path{Delay: 5 * time.Millisecond}).Use(&s)
		pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(&interceptor.Registry{})).NewPeerConnection(webrtc.Configuration{})
		require.NoError(t, err)
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
		took := make(chan time.Duration, 1000)
		pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
			id := extensionID(receiver, sdp.URIAbsSendTime)
			for {
				packet, _, err := track.ReadRTP()
				if err != nil {
					return
				}
				data := packet.GetExtension(id)
				if len(data) != 3 {
					took <- -time.Second
					continue
				}
				const wraps = 64 * time.Second
				left := time.Duration(uint64(data[0])<<16|uint64(data[1])<<8|uint64(data[2])) * time.Second >> 18
				took <- (time.Duration(time.Now().UnixNano())%wraps - left + wraps) % wraps
			}
		})
		c := &client{PeerConnection: pc}
		session, err := p.answer(c.offer(t))
		require.NoError(t, err)
		c.accept(t, session.SDP())
		p.frames(90)
		require.Greater(t, len(took), 60)
		for range len(took) {
			require.InDelta(t, 10*time.Millisecond, <-took, float64(2*time.Millisecond), "as long as the path")
		}
		require.NoError(t, session.Close())
		require.NoError(t, c.GracefulClose())
	})
}

// While a viewer's path is estimated, its video and its sound are numbered as one sequence
// where both have negotiated that, and what a client of pion's then reports is heard.
func TestNumbersArrive(t *testing.T) {
	inPlace(t, func(t *testing.T, p *place) {
		var mu sync.Mutex
		seen := map[uint16]webrtc.RTPCodecType{}
		c := p.client("viewer", nil)
		c.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
			id := extensionID(receiver, sdp.URITransportCC)
			for {
				packet, _, err := track.ReadRTP()
				if err != nil {
					return
				}
				data := packet.GetExtension(id)
				if len(data) != 2 {
					continue
				}
				mu.Lock()
				seen[binary.BigEndian.Uint16(data)] = track.Kind()
				mu.Unlock()
			}
		})
		session, err := p.answer(c.offer(t))
		require.NoError(t, err)
		c.accept(t, session.SDP())
		for range 60 {
			p.frame()
			p.speak()
			time.Sleep(time.Second / 30)
		}
		heard := session.Stats().Path
		require.Equal(t, bwe.TransportFeedback, heard.Source)
		require.Zero(t, heard.Loss)
		require.Less(t, heard.RoundTrip, 200*time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		kinds := map[webrtc.RTPCodecType]int{}
		for n := uint16(1); int(n) <= len(seen); n++ {
			require.Contains(t, seen, n, "contiguous")
			kinds[seen[n]]++
		}
		require.Greater(t, kinds[webrtc.RTPCodecTypeVideo], 30)
		require.Greater(t, kinds[webrtc.RTPCodecTypeAudio], 30)
		require.NoError(t, session.Close())
		require.NoError(t, c.GracefulClose())
	})
}
