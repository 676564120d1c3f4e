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

// Simulcast layers keep their names through every hop; a viewer gets the best,
// or the one that it names.
func TestSimulcastThroughHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		r := w.relay("relay", path, o)
		e := w.edge("edge", path, edge.Config{}, r)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{
			Audio: &cdntest.Audio{},
			Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
				{RID: "l", Bitrate: 150_000, Width: 320, Height: 180},
				{RID: "m", Bitrate: 500_000, Width: 640, Height: 360},
				{RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720},
			}},
		})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(2 * time.Second)
		for name, want := range map[string]int{"": 2, "l": 0, "m": 1, "h": 2} {
			v := w.view(e, "live", "viewer of "+name, path, cdntest.ViewerConfig{Layer: name})
			require.NoError(t, v.WaitFrames(w.within(10*time.Second), 60), "layer %q", name)
			video := v.Report().Video()
			require.Zero(t, video.FaultCount, video.Faults)
			require.Zero(t, video.Missing)
			require.Equal(t, want, video.Frames[len(video.Frames)-1].Layer, "layer %q", name)
		}
		_, err := cdntest.NewViewer(w.within(5*time.Second), cdntest.ViewerConfig{
			Net: w.network.Host("other", path).Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live", Layer: "x",
		})
		require.ErrorIs(t, err, cdn.ErrNotFound)
	})
}

// A viewer that cannot take the best layer gets a lower one, in one continuous
// stream.
func TestSlowViewerLosesLayersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("origin", path, origin.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
			{RID: "l", Bitrate: 150_000, Width: 320, Height: 180},
			{RID: "h", Bitrate: 2_500_000, Width: 1280, Height: 720},
		}}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(2 * time.Second)
		narrow := path
		narrow.Rate, narrow.Queue = 1_000_000, 300*time.Millisecond
		v := w.view(o, "live", "narrow", narrow, cdntest.ViewerConfig{})
		time.Sleep(12 * time.Second)
		r := v.Report().Video()
		require.Zero(t, r.FaultCount, r.Faults)
		low := 0
		for _, f := range r.Frames {
			if f.Layer == 0 {
				low++
			}
		}
		require.Greater(t, low, 60, "of %d whole frames", len(r.Frames))
		for tried := time.Now(); o.edge.Stats().Sessions[0].Layer != "l"; time.Sleep(ms(100)) { // it tries the better one now and then
			require.Less(t, time.Since(tried), 5*time.Second)
		}
	})
}

// A layer that the publisher stops, or has not begun, does not hold its viewers:
// they get the best there is, and the better one when it is there again.
func TestViewersFollowTheLayersThatAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
			{RID: "l", Bitrate: 150_000, Width: 320, Height: 180},
			{RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720},
		}}})
		p.PauseLayer("h")
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		last := func() int {
			f := v.Report().Video().Frames
			return f[len(f)-1].Layer
		}
		require.NoError(t, v.WaitFrames(w.within(2*time.Second), 30))
		require.Equal(t, 0, last())
		p.ResumeLayer("h")
		time.Sleep(5 * time.Second)
		require.Equal(t, 1, last())
		p.PauseLayer("h")
		time.Sleep(3 * time.Second)
		require.Equal(t, 0, last())
		p.ResumeLayer("h")
		time.Sleep(5 * time.Second)
		require.Equal(t, 1, last())

		r := v.Report().Video()
		require.Zero(t, r.FaultCount+r.Missing, r.Faults)
		require.Less(t, r.Gap(), 1500*time.Millisecond)
	})
}
