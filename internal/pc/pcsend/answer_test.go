package pcsend

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp"
)

// What only our own sessions write is not answered: packets of a PeerConnection have no
// transport-wide sequence numbers. Nor is it when the stream says that it has some.
func TestAnswersNoSignals(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	stream, err := node.NewStream("live")
	require.NoError(t, err)
	in, err := stream.NewInput(cdn.InputConfig{})
	require.NoError(t, err)
	require.NoError(t, in.Start([]cdn.TrackInfo{{
		ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: []string{""},
		Extensions: []string{sdp.URITransportCC, "urn:3gpp:video-orientation", sdp.URIAbsSendTime},
	}}))
	for _, client := range []string{"chromium-gathered", "firefox-gathered", "pion-video-audio"} {
		offer, err := os.ReadFile(filepath.Join("..", "..", "viewer", "testdata", "offers", client+".sdp"))
		require.NoError(t, err)
		s, err := Answer(t.Context(), Config{Node: node, Stream: stream}, string(offer))
		require.NoError(t, err)
		for _, signal := range []string{"transport-cc", sdp.URITransportCC, sdp.URIAbsSendTime} {
			require.Contains(t, string(offer)+sdp.URIAbsSendTime, signal)
			require.NotContains(t, s.SDP(), signal, client)
		}
		require.Contains(t, s.SDP(), "a=rtcp-fb:")
		require.NoError(t, s.Close())
	}
	plan, _, err := planOffer(stream.Tracks())
	require.NoError(t, err)
	require.Len(t, plan.lines, 1)
}
