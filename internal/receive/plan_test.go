package receive

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
)

const head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=x-delta-epoch:7\r\n"

func media(kind, codecs string, more ...string) string {
	pts, lines := "", ""
	for i, c := range strings.Fields(codecs) {
		pt := string(rune('0'+i/10)) + string(rune('0'+i%10))
		pt = "1" + pt
		pts += " " + pt
		lines += "a=rtpmap:" + pt + " " + c + "\r\n"
	}
	return "m=" + kind + " 9 UDP/TLS/RTP/SAVPF" + pts + "\r\n" + lines + strings.Join(more, "\r\n") + "\r\n"
}

func TestAccept(t *testing.T) {
	p, err := Accept(head+
		media("audio", "opus/48000/2 PCMU/8000", "a=sendonly", "a=mid:a", "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "a=extmap:2 "+sdp.URITransportCC)+
		media("video", "VP8/90000 H264/90000", "a=sendrecv", "a=mid:v", "a=extmap:3 urn:3gpp:video-orientation", "a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", "a=extmap:5 "+sdp.URIMid, "a=extmap:6/recvonly urn:not-sent", "a=extmap:7/sendonly urn:sent")+
		media("video", "AV1/90000", "a=sendonly", "a=mid:s", "a=rid:q send", "a=rid:f send", "a=simulcast:send q;f")+
		media("video", "VP8/90000", "a=recvonly", "a=mid:r"), nil)
	require.NoError(t, err)
	require.Equal(t, []cdn.TrackInfo{
		{
			ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}, Layers: []string{""},
			Extensions: []string{"urn:ietf:params:rtp-hdrext:ssrc-audio-level"},
		},
		{
			ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""},
			Extensions: []string{"urn:3gpp:video-orientation", "urn:sent"},
		},
		{ID: "video2", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/AV1", ClockRate: 90000}, Layers: []string{"q", "f"}},
	}, p.Tracks)
	require.Equal(t, 1, p.Track("v"))
	require.Equal(t, -1, p.Track("r"))
	epoch, ok := p.Attribute("x-delta-epoch")
	require.True(t, ok)
	require.Equal(t, "7", epoch)
}

func TestAcceptTakesTheCodecThatIsChosen(t *testing.T) {
	only := func(mimes ...string) sdp.Chooser {
		return sdp.Only(func(c cdn.Codec) bool { return slices.ContainsFunc(mimes, c.Is) }, nil)
	}
	offer := head + media("video", "VP8/90000 VP9/90000 H264/90000", "a=sendonly", "a=mid:v")
	p, err := Accept(offer, only("video/H264", "video/VP9"))
	require.NoError(t, err)
	require.Equal(t, "video/H264", p.Tracks[0].Codec.MimeType)
	last := func(_ cdn.Kind, offered []cdn.Codec) int { return len(offered) - 1 }
	p, err = Accept(offer, last)
	require.NoError(t, err)
	require.Equal(t, "video/H264", p.Tracks[0].Codec.MimeType)
	p, err = Accept(offer, sdp.Only(func(c cdn.Codec) bool { return !c.Is("video/H264") }, last))
	require.NoError(t, err)
	require.Equal(t, "video/VP9", p.Tracks[0].Codec.MimeType)
	for _, none := range []int{-1, 3} {
		_, err = Accept(offer, func(cdn.Kind, []cdn.Codec) int { return none })
		require.ErrorIs(t, err, cdn.ErrNoCommonCodec)
	}
	_, err = Accept(offer, only("video/AV1"))
	require.ErrorIs(t, err, cdn.ErrNoCommonCodec)
	_, err = Accept(head+media("video", "VP8/90000", "a=recvonly"), nil)
	require.ErrorIs(t, err, cdn.ErrInvalid)
	_, err = Accept("hello", nil)
	require.ErrorIs(t, err, cdn.ErrInvalid)
}
