package pcsend

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSetFmtpTouchesOneSection(t *testing.T) {
	const sdp = "v=0\r\nm=audio 9 X 96\r\na=mid:0\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 minptime=10\r\n" +
		"m=video 9 X 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n"
	require.Equal(t, "v=0\r\nm=audio 9 X 96\r\na=mid:0\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1\r\n"+
		"m=video 9 X 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n", setFmtp(sdp, "0", 96, "stereo=1"))
	require.Contains(t, setFmtp(sdp, "1", 96, "x=1"), "VP8/90000\r\na=fmtp:96 x=1\r\n", "added where there was none")
	require.Equal(t, sdp, setFmtp(sdp, "2", 96, "x=1"))
}
