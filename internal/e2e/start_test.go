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

// A publisher makes a keyframe in ten seconds and answers no requests. Viewers
// begin at once all the same, the first one at an edge too, and soon have what is
// live; to them it looks as if all had been.
func TestViewersOfADeafPublisherBeginAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		r := w.relay("relay", path, o)
		e := w.edge("edge", path, edge.Config{}, r)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{
			Video: &cdntest.Video{KeyframeInterval: 10 * time.Second, NoRequestedKeyframes: true},
			Audio: &cdntest.Audio{},
		})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(6 * time.Second)
		for _, name := range []string{"the first", "another"} {
			begun := time.Now()
			v := w.view(e, "live", name, path, cdntest.ViewerConfig{})
			require.NoError(t, v.WaitConnected(w.within(5*time.Second)))
			connected := time.Since(begun)
			time.Sleep(4 * time.Second)
			video := v.Report().Video()
			require.Zero(t, video.FaultCount, video.Faults)
			require.Zero(t, video.Missing)
			require.True(t, video.BeganWithKeyframe)
			first, last := video.Frames[0], video.Frames[len(video.Frames)-1]
			t.Logf("%s: connected after %v, first frame after %v, %v old; live after %v", name,
				connected, first.Done.Sub(begun), first.Latency(), liveAfter(video).Sub(first.Done))
			if !peerConnections { // which take their time to connect the hops
				require.Less(t, first.Done.Sub(begun), connected+ms(150))
			}
			require.Greater(t, first.Latency(), 5*time.Second)
			require.Less(t, liveAfter(video).Sub(first.Done), 4*time.Second)
			require.InDelta(t, 0, (last.Latency() - video.Latency(0)).Seconds(), 0.01)
			// By its timestamps no frame came much later, or earlier, than the first.
			for _, f := range video.Frames {
				media := time.Duration(int64(f.Timestamp-first.Timestamp)) * time.Second / 90000
				require.InDelta(t, 0, (f.Done.Sub(first.Done) - media).Seconds(), 0.2, "frame %d", f.Number)
			}
			requireSync(t, video, 90000)
			requireSync(t, v.Report().Audio(), 48000)
			time.Sleep(5500 * time.Millisecond) // that is 5.5 s after the next keyframe
		}
	})
}

// liveAfter returns when the first frame came that was not older than the rest.
func liveAfter(track cdntest.TrackReport) time.Time {
	i := len(track.Frames) - 1
	for i > 0 && track.Frames[i-1].Latency() <= track.Latency(0)+ms(10) {
		i--
	}
	return track.Frames[i].Done
}
