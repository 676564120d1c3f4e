package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A chain of any length delivers the bytes that were published, each hop adding
// its path's delay and nothing else.
func TestChainDeliversWhatWasPublished(t *testing.T) {
	for _, codec := range []string{"video/VP8", "video/VP9", "video/H264", "video/H265", "video/AV1"} {
		t.Run(codec, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testChain(t, codec) }) })
	}
}

func testChain(t *testing.T, codec string) {
	w := newWorld(t)
	path := cdntest.Path{Delay: ms(5)}
	o := w.origin("origin", path, origin.Config{})
	r1 := w.relay("relay1", path, o)
	r2 := w.relay("relay2", path, r1)
	e := w.edge("edge", path, edge.Config{}, r2)
	p := w.publish(o, "live/one", path, cdntest.PublisherConfig{
		Video: &cdntest.Video{Codec: codec}, Audio: &cdntest.Audio{Stereo: true},
	})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	v := w.view(e, "live/one", "viewer", path, cdntest.ViewerConfig{})
	require.NoError(t, v.WaitFrames(w.within(20*time.Second), 150))

	r := v.Report()
	for _, track := range r.Tracks {
		require.Zero(t, track.FaultCount, "%s: %v", track.Kind, track.Faults)
		require.Zero(t, track.Missing+track.Duplicates+track.Reordered)
		require.NotEmpty(t, track.SenderReports)
	}
	require.True(t, r.Video().BeganWithKeyframe)
	require.Contains(t, r.Audio().Codec.Fmtp, "stereo=1")
	// Publisher, origin, two relays, edge, viewer: five paths of 2 x 5 ms.
	require.Equal(t, ms(50), r.Audio().Latency(0.5))
	require.Equal(t, ms(50), r.Video().Latency(0.5))
}
