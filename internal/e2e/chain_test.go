package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A chain of any length delivers the bytes that were published, each hop adding
// its path's delay and nothing else.
func TestChainDeliversWhatWasPublished(t *testing.T) {
	for _, codec := range someOf([]string{"video/VP8", "video/VP9", "video/H264", "video/H265", "video/AV1"}) {
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
	requireSync(t, r.Video(), 90000)
	requireSync(t, r.Audio(), 48000)
}

// requireSync: by the last sender report, each frame has the instant of the
// publisher's clock at which it was sent. So sound and picture stay together.
// Those that the viewer caught up with look as if they had been live.
func requireSync(t *testing.T, track cdntest.TrackReport, rate float64) {
	t.Helper()
	last := track.SenderReports[len(track.SenderReports)-1]
	live := track.Frames
	for len(live) > 0 && live[0].Latency() > track.Latency(0)+ms(1) {
		live = live[1:]
	}
	require.NotEmpty(t, live)
	for _, f := range live {
		ticks := int32(uint32(f.Timestamp) - last.RTP)
		at := last.NTP.Add(time.Duration(float64(ticks) / rate * float64(time.Second)))
		require.InDelta(t, 0, f.Sent.Sub(at).Seconds(), 0.001, "%s frame %d", track.Kind, f.Number)
	}
}

const playoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

// Header extensions travel end to end; those of one hop do not, and
// playout-delay is the edge's where it has one.
func TestHeaderExtensions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const level, orientation = "urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:3gpp:video-orientation"
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		e := w.edge("edge", cdntest.Path{}, edge.Config{
			Playout: func(cdn.StreamID) *edge.PlayoutDelay { return &edge.PlayoutDelay{Max: 20 * time.Millisecond} },
		}, o)
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{
			Video: &cdntest.Video{Extensions: []string{orientation}},
			Audio: &cdntest.Audio{Extensions: []string{level}},
		})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view(e, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{Extensions: []string{level, orientation, playoutDelay}})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		r := v.Report()
		require.NotEmpty(t, r.Audio().Extensions[level])
		require.NotEmpty(t, r.Video().Extensions[orientation])
		require.Equal(t, []byte{0, 0, 2}, r.Video().Extensions[playoutDelay], "0 to 20 ms")
	})
}
