package sdp

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func read(t testing.TB, name string) string {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return strings.ReplaceAll(string(b), "\n", "\r\n")
}

func parse(t *testing.T, sdp string) *Offer {
	o, err := Parse(sdp)
	require.NoError(t, err)
	return o
}

func TestParse(t *testing.T) {
	o := parse(t, read(t, "chromium.sdp"))
	require.Len(t, o.Media, 3)
	audio, video, data := o.Media[0], o.Media[1], o.Media[2]
	require.Equal(t, cdn.Audio, audio.Kind)
	require.True(t, audio.Sends)
	require.False(t, audio.Receives)
	require.Equal(t, "audio-track", audio.Track)
	var names []string
	for _, c := range slices.Concat(audio.Codecs, video.Codecs) {
		names = append(names, c.MimeType)
	}
	require.Equal(t, []string{"audio/opus", "audio/G722", "audio/PCMU", "audio/PCMA", "video/VP8", "video/H264", "video/AV1"}, names,
		"repair and redundancy carry no media of their own")
	require.Equal(t, Codec{
		Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1;stereo=1"},
		PT:    111, RED: 63, Feedback: []string{"transport-cc"},
	}, audio.Codecs[0])
	require.Equal(t, uint8(97), video.Codecs[0].RTX)
	require.Equal(t, []string{"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}, video.Codecs[0].Feedback)
	require.Equal(t, uint8(13), video.Extensions["urn:3gpp:video-orientation"])
	require.Equal(t, []string{"l", "m", "h"}, video.Rids)
	require.Zero(t, data.Kind)
}

// What an offer says again costs no memory: formats that are listed twice are read once, and the
// parameters of a format have a bound.
func TestParseRepetitions(t *testing.T) {
	const head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "a=fmtp:96 x%d=1\r\n", i)
	}
	o := parse(t, head+"m=video 9 UDP/TLS/RTP/SAVPF"+strings.Repeat(" 96", 1000)+"\r\na=rtpmap:96 VP8/90000\r\n"+lines.String())
	require.Len(t, o.Media[0].Codecs, 1)
	fmtp := o.Media[0].Codecs[0].Fmtp
	require.True(t, strings.HasPrefix(fmtp, "x0=1;x1=1;"))
	require.LessOrEqual(t, len(fmtp), longestParameters)
}

func TestParseOddities(t *testing.T) {
	const head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
	o := parse(t, head+"m=audio 9 UDP/TLS/RTP/SAVPF 0 8 96\r\na=rtpmap:96 L16/44100/2\r\na=rtcp-fb:* nack\r\n"+
		"m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 profile-id=2\r\na=fmtp:96 profile-id=2\r\na=fmtp:96 level-id=93;tier-flag=0\r\na=inactive\r\n"+
		"m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=bundle-only\r\na=mid:v\r\na=rtpmap:96 somethingnew/1000\r\na=recvonly\r\na=extmap:3/sendonly urn:x some attributes\r\na=rid:a send pt=96\r\na=rid:b recv\r\n")
	require.Equal(t, "audio/PCMU", o.Media[0].Codecs[0].MimeType, "static payload types need no rtpmap")
	require.Equal(t, uint32(8000), o.Media[0].Codecs[1].ClockRate)
	require.Equal(t, []string{"nack"}, o.Media[0].Codecs[2].Feedback)
	require.True(t, o.Media[0].Sends && o.Media[0].Receives, "sendrecv is the default")
	require.True(t, o.Media[1].Rejected)
	require.Equal(t, "profile-id=2;level-id=93;tier-flag=0", o.Media[1].Codecs[0].Fmtp, "a line for each parameter")
	require.False(t, o.Media[2].Rejected, "bundle-only has port 0, too")
	require.Equal(t, "video/somethingnew", o.Media[2].Codecs[0].MimeType)
	require.Equal(t, uint8(3), o.Media[2].Extensions["urn:x"])
	require.Equal(t, []string{"a"}, o.Media[2].Rids)

	for name, bad := range map[string]string{
		"nothing":       "",
		"no sdp":        "hello",
		"no media":      head,
		"payload type":  head + "m=audio 9 UDP/TLS/RTP/SAVPF x\r\n",
		"rtpmap":        head + "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus\r\n",
		"clock rate":    head + "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus/0\r\n",
		"one mid twice": head + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:x\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:x\r\n",
		"a lone CR":     head + "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus/48000\r\na=fmtp:96 x\ra=y\r\n",
		"channels":      head + "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus/48000/x\r\n",
	} {
		_, err := Parse(bad)
		require.ErrorIs(t, err, cdn.ErrInvalid, name)
	}
}

// What pion gets to see is what was chosen, so its answer says nothing else.
func TestTheAnswerIsTheChoice(t *testing.T) {
	const level, orientation = "urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:3gpp:video-orientation"
	for name, pick := range map[string]struct {
		codec int
		want  []string
		not   []string
	}{
		"VP8":  {0, []string{"m=video 9 UDP/TLS/RTP/SAVPF 96 97", "a=rtpmap:96 VP8/90000", "a=fmtp:97 apt=96", "a=rtcp-fb:96 nack pli"}, []string{"H264", "AV1", "goog-remb", "transport-cc"}},
		"H264": {1, []string{"m=video 9 UDP/TLS/RTP/SAVPF 102 103", "profile-level-id=42e01f"}, []string{"VP8", "AV1"}},
		"AV1":  {2, []string{"m=video 9 UDP/TLS/RTP/SAVPF 45 46", "a=rtpmap:45 AV1/90000"}, []string{"VP8", "H264"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, read(t, "chromium.sdp"))
			choices := []Choice{
				{Media: o.Media[0], Codec: o.Media[0].Codecs[0], Extensions: []string{level, "urn:not-offered"}},
				{Media: o.Media[1], Codec: o.Media[1].Codecs[pick.codec], Feedback: []string{"nack", "nack pli"}, Extensions: []string{orientation}},
			}
			sdp, engine, err := o.Reduce(choices)
			require.NoError(t, err)
			answer := o.Restore(answerTo(t, sdp, engine), choices)
			for _, want := range append(pick.want, "stereo=1", "a=extmap:1 "+level, "a=extmap:13 "+orientation,
				"a=group:BUNDLE 0 1\r\n", "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n") {
				require.Contains(t, answer, want)
			}
			for _, not := range append(pick.not, "red/", "telephone-event", "toffset", "PCMU") {
				require.NotContains(t, answer, not)
			}
			require.Regexp(t, `a=simulcast:recv l;m;h`, answer)
		})
	}
}

// A header extension is taken only if the offer has it for the way that media
// goes, and the answer says which that is (RFC 8285 section 7).
func TestExtensionsGoOneWay(t *testing.T) {
	const uri = "urn:3gpp:video-orientation"
	for _, k := range []struct {
		offered string
		sends   bool
		want    string // "": not in the answer
	}{
		{"13", true, "a=extmap:13 " + uri},
		{"13", false, "a=extmap:13 " + uri},
		{"13/sendrecv", true, "a=extmap:13 " + uri},
		{"13/recvonly", true, "a=extmap:13/sendonly " + uri},
		{"13/recvonly", false, ""},
		{"13/sendonly", true, ""},
		{"13/sendonly", false, "a=extmap:13/recvonly " + uri},
		{"13/inactive", true, ""},
		{"13/inactive", false, ""},
	} {
		o := parse(t, strings.ReplaceAll(read(t, "chromium.sdp"), "a=extmap:13 ", "a=extmap:"+k.offered+" "))
		video := o.Media[1]
		choices := []Choice{{Media: video, Codec: video.Codecs[0], Extensions: []string{uri}, Sends: k.sends}}
		sdp, engine, err := o.Reduce(choices)
		require.NoError(t, err)
		answer := o.Restore(answerTo(t, sdp, engine), choices)
		if k.want == "" {
			require.NotContains(t, answer, uri, "%+v", k)
		} else {
			require.Contains(t, answer, k.want+"\r\n", "%+v", k)
		}
	}
}

func answerTo(t *testing.T, offer string, engine *webrtc.MediaEngine) string {
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}))
	answer, err := pc.CreateAnswer(nil)
	require.NoError(t, err)
	return answer.SDP
}

// A rejected first section takes nothing along that the others need.
func TestRejectingTheFirstSection(t *testing.T) {
	o := parse(t, read(t, "chromium.sdp"))
	choices := []Choice{{Media: o.Media[1], Codec: o.Media[1].Codecs[0]}}
	sdp, engine, err := o.Reduce(choices)
	require.NoError(t, err)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	defer func() { require.NoError(t, pc.Close()) }()
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}))
	answer, err := pc.CreateAnswer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(answer))
	<-gathered
	restored := o.Restore(pc.LocalDescription().SDP, choices)
	sections := strings.Split(restored, "\r\nm=")
	require.Len(t, sections, 4)
	require.True(t, strings.HasPrefix(sections[1], "audio 0 UDP/TLS/RTP/SAVPF 0\r\n"), sections[1])
	require.NotContains(t, sections[1], "candidate")
	require.Contains(t, sections[2], "\r\na=candidate:")
	require.NotRegexp(t, `a=candidate:\S+ 2 `, restored)
	require.Contains(t, sections[0], "a=group:BUNDLE 1")
	parse(t, restored)
}

// Codecs that nobody here has heard of are negotiated all the same.
func TestUnknownAndStaticCodecs(t *testing.T) {
	const common = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 0D:1B:E7:2C:27:7E:26:4A:B9:3C:89:0A:53:36:5A:AD:94:2C:6E:CC:33:0C:0E:0E:31:5C:63:1B:E7:7D:9E:F6\r\na=setup:actpass\r\na=rtcp-mux\r\na=sendonly\r\n"
	o := parse(t, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n"+
		"m=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=mid:a\r\n"+common+
		"m=video 9 UDP/TLS/RTP/SAVPF 99\r\na=mid:v\r\na=rtpmap:99 H265/90000\r\na=fmtp:99 profile-id=1\r\n"+common)
	sdp, engine, err := o.Reduce([]Choice{
		{Media: o.Media[0], Codec: o.Media[0].Codecs[0]}, {Media: o.Media[1], Codec: o.Media[1].Codecs[0]},
	})
	require.NoError(t, err)
	answer := answerTo(t, sdp, engine)
	require.Contains(t, answer, "m=audio 9 UDP/TLS/RTP/SAVPF 8")
	require.Contains(t, answer, "a=rtpmap:8 PCMA/8000")
	require.Contains(t, answer, "a=rtpmap:99 H265/90000")
	require.Contains(t, answer, "profile-id=1")
}

func FuzzParse(f *testing.F) {
	for _, offer := range recorded(f) {
		f.Add(offer)
	}
	f.Add(read(f, "chromium.sdp"))
	f.Add("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=extmap:0 x\r\na=simulcast:send\r\na=rid:\r\n")
	f.Fuzz(func(t *testing.T, sdp string) {
		o, err := Parse(sdp)
		if err != nil {
			require.ErrorIs(t, err, cdn.ErrInvalid)
			return
		}
		var choices []Choice
		for _, m := range o.Media {
			if len(m.Codecs) > 0 {
				choices = append(choices, Choice{Media: m, Codec: m.Codecs[0]})
			}
		}
		_, _, _ = o.Reduce(choices) // must not panic
	})
}

func TestTooManyCandidates(t *testing.T) {
	offer := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n" +
		strings.Repeat("a=candidate:1 1 udp 1 10.9.9.9 5000 typ host\r\n", maxCandidates)
	_, err := Parse(offer)
	require.NoError(t, err)
	_, err = Parse(offer + "a=candidate:1 1 udp 1 10.9.9.9 5000 typ host\r\n")
	require.ErrorIs(t, err, cdn.ErrInvalid)
}
