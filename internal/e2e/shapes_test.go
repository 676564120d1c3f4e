package delta_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// sessionLevel moves what all m-sections say of the transport to the session, as
// libdatachannel (OBS) writes it (RFC 8859 section 5).
func sessionLevel(sdp string) string {
	var moved []string
	prefixes := []string{"a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"}
	for _, prefix := range prefixes {
		moved = append(moved, regexp.MustCompile(`(?m)^`+prefix+`[^\r]*`).FindString(sdp))
	}
	head, media, _ := strings.Cut(dropLines(sdp, prefixes...), "m=")
	return head + strings.Join(moved, "\r\n") + "\r\nm=" + media
}

// feedback leaves only these kinds of feedback in the offer.
func feedback(sdp string, kinds ...string) string {
	sdp = dropLines(sdp, "a=rtcp-fb:")
	var lines strings.Builder
	for _, k := range kinds {
		lines.WriteString("a=rtcp-fb:102 " + k + "\r\n")
	}
	return strings.Replace(sdp, "a=rtpmap:102 ", lines.String()+"a=rtpmap:102 ", 1)
}

// Publishers in the field whose offers differ from a browser's are taken, and are
// played at the origin and behind a hop. (Firefox, aiortc, libdatachannel and werift
// themselves: internal/clients.)
func TestPublishersOfOtherShapes(t *testing.T) {
	for name, edit := range map[string]func(sdp string) string{
		// It is the DTLS server, knows no feedback, and offers no candidates.
		"FFmpeg's WHIP muxer": func(sdp string) string {
			sdp = dropLines(sdp, "a=rtcp-fb:", "a=candidate:", "a=end-of-candidates", "a=extmap:")
			return strings.ReplaceAll(sdp, "a=setup:actpass", "a=setup:passive")
		},
		"OBS":       func(sdp string) string { return sessionLevel(feedback(sdp, "nack", "nack pli", "goog-remb")) },
		"GStreamer": func(sdp string) string { return feedback(sdp, "nack", "nack pli", "ccm fir", "transport-cc") },
		"aiortc":    func(sdp string) string { return feedback(sdp, "nack", "nack pli", "goog-remb") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testShape(t, edit) })
		})
	}
}

func testShape(t *testing.T, edit func(string) string) {
	w := newWorld(t)
	path := cdntest.Path{Delay: ms(5)}
	o := w.origin("origin", path, origin.Config{})
	e := w.edge("edge", path, edge.Config{}, o)
	video, audio := videoTrack(webrtc.MimeTypeH264), opusTrack()
	p, err := rawPublish(t, w, o, "live", w.network.Host("publisher", path), only(webrtc.MimeTypeH264, h264Fmtp), edit, video, audio)
	require.NoError(t, err)
	requireAnswerForFFmpeg(t, p.answer, o.host.IP().String())
	if strings.Contains(edit(p.pc.LocalDescription().SDP), "a=setup:passive") {
		require.Contains(t, p.answer, "a=setup:active\r\n")
	}

	viewers := make(map[string]*rawViewer)
	for at, n := range map[string]*node{"origin": o, "hop": e} {
		viewers[at], err = rawView(t, w, n, "live", w.network.Host("viewer at "+at, path), only(webrtc.MimeTypeH264, h264Fmtp), nil,
			webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio)
		require.NoError(t, err)
	}
	const frames, keyframes = 90, 30
	var seq uint16
	for n := range frames {
		packets := [][]byte{slice(0x41, n)}
		if n%keyframes == 0 {
			packets = [][]byte{stapA(sps, pps), slice(0x65, n)}
		}
		for i, payload := range packets {
			require.NoError(t, video.send(rtp.Header{SequenceNumber: seq, Timestamp: uint32(n * 3000), Marker: i == len(packets)-1}, payload))
			seq++
		}
		require.NoError(t, audio.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 960)}, []byte{0xf8, 0xff, 0xfe}))
		time.Sleep(time.Second / 30)
	}
	for at, v := range viewers {
		got := v.packets("video")
		require.Greater(t, len(got), frames/2, at)
		require.Equal(t, byte(24), got[0].data[0]&31, "%s: parameter sets come first", at)
		require.Greater(t, len(v.packets("audio")), frames/2, at)
	}
}

// requireAnswerForFFmpeg: FFmpeg's buffer for answers has 8,192 bytes, and of the
// candidates it takes the first one.
func requireAnswerForFFmpeg(t *testing.T, answer, address string) {
	require.Less(t, len(answer), 8192)
	_, first, ok := strings.Cut(answer, "a=candidate:")
	require.True(t, ok)
	f := strings.Fields(first)
	require.Equal(t, "1", f[1], "component")
	require.Equal(t, "udp", strings.ToLower(f[2]))
	require.Equal(t, address, f[4])
	require.Equal(t, "host", f[7])
}

// FFmpeg's connectivity checks say neither a priority nor a role, and nominate at
// once. Publishers and viewers with them are answered.
func TestBareConnectivityChecks(t *testing.T) {
	for _, action := range []string{"publish", "play"} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{})
				host := w.network.Host("client", path)
				video := videoTrack(webrtc.MimeTypeVP8)
				p, err := rawPublish(t, w, o, "live", host, nil, nil, video)
				require.NoError(t, err)
				answer, theirs := p.answer, p.pc.LocalDescription().SDP
				if action == "play" {
					require.NoError(t, video.send(rtp.Header{Marker: true}, vp8Picture(true, 0)))
					v, err := rawView(t, w, o, "live", w.network.Host("viewer", path), nil, nil, webrtc.RTPCodecTypeVideo)
					require.NoError(t, err)
					answer, theirs = v.answer, v.pc.LocalDescription().SDP
				}
				value := func(sdp, name string) string {
					_, rest, _ := strings.Cut(sdp, "a="+name+":")
					v, _, _ := strings.Cut(rest, "\r\n")
					return v
				}
				m, err := stun.Build(stun.TransactionID, stun.BindingRequest,
					stun.NewUsername(value(answer, "ice-ufrag")+":"+value(theirs, "ice-ufrag")), stun.RawAttribute{Type: stun.AttrUseCandidate},
					stun.NewShortTermIntegrity(value(answer, "ice-pwd")), stun.Fingerprint)
				require.NoError(t, err)
				conn, err := host.Net().ListenUDP(netip.AddrPortFrom(host.IP(), 9))
				require.NoError(t, err)
				defer func() { require.NoError(t, conn.Close()) }()
				_, err = conn.WriteTo(m.Raw, o.Addr())
				require.NoError(t, err)
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
				for buf := make([]byte, 1500); ; {
					n, _, err := conn.ReadFrom(buf)
					require.NoError(t, err)
					if !stun.IsMessage(buf[:n]) {
						continue // the nominated path carries the session at once
					}
					var got stun.Message
					require.NoError(t, stun.Decode(buf[:n], &got))
					if got.Type == stun.BindingRequest {
						continue // a check in return
					}
					require.Equal(t, stun.BindingSuccess, got.Type)
					require.Equal(t, m.TransactionID, got.TransactionID)
					return
				}
			})
		})
	}
}

// The lower layers of OBS's simulcast answer no NACKs: what is lost of them is
// repaired by a keyframe, which a viewer's request brings.
func TestLayersWithoutRetransmissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		w.publish(o, "live", cdntest.Path{Delay: ms(10), Loss: 0.005}, cdntest.PublisherConfig{
			NoRTX: true,
			Video: &cdntest.Video{KeyframeInterval: time.Hour, Layers: []cdntest.VideoLayer{
				{RID: "l", Bitrate: 150_000, Width: 320, Height: 180},
				{RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720},
			}},
		})
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{Layer: "l"})
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 30))
		broken := 0
		for range 600 { // a minute
			time.Sleep(100 * time.Millisecond)
			frames := v.Report().Video().Frames
			if last := frames[len(frames)-1]; last.Decodable {
				broken = 0
				continue
			}
			broken++
			require.Less(t, broken, 15, "no keyframe within 1.5 s")
			require.NoError(t, v.RequestKeyframe())
		}
		require.Positive(t, v.Report().KeyframeRequests, "something was lost")
	})
}
