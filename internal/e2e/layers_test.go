package delta_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A ladder is a stream of two layers that comes to an edge through a relay.
type ladder struct {
	*world
	origin, relay, edge *node
	publisher           *cdntest.Publisher
	path                cdntest.Path
}

const (
	lowRate  = 150_000
	highRate = 1_500_000
)

func onLadder(t *testing.T, f func(t *testing.T, w *ladder)) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := &ladder{world: newWorld(t), path: cdntest.Path{Delay: ms(10)}}
		w.origin = w.world.origin("origin", cdntest.Path{}, origin.Config{})
		w.relay = w.world.relay("relay", cdntest.Path{}, w.origin)
		w.edge = w.world.edge("edge", cdntest.Path{}, edge.Config{}, w.relay, w.origin)
		w.network.Between(w.origin.host, w.relay.host, w.path)
		w.network.Between(w.relay.host, w.edge.host, w.path)
		w.publisher = w.publish(w.origin, "live", w.path, cdntest.PublisherConfig{Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
			{RID: "l", Bitrate: lowRate, Width: 320, Height: 180},
			{RID: "h", Bitrate: highRate, Width: 1280, Height: 720},
		}}})
		require.NoError(t, w.publisher.WaitConnected(w.within(5*time.Second)))
		time.Sleep(3 * time.Second)
		f(t, w)
	})
}

// rates returns the bits a second of both hops, over a while.
func (w *ladder) rates(d time.Duration) (up, down int) {
	a, b := w.sent()
	time.Sleep(d)
	c, e := w.sent()
	per := func(n int) int { return int(float64(n*8) / d.Seconds()) }
	return per(c - a), per(e - b)
}

func (w *ladder) sent() (up, down int) {
	return w.network.Traffic(w.origin.host, w.relay.host).SentBytes, w.network.Traffic(w.relay.host, w.edge.host).SentBytes
}

func (w *ladder) requireLow(t *testing.T) {
	t.Helper()
	up, down := w.rates(4 * time.Second)
	require.Less(t, up, lowRate*3/2, "from the origin to the relay")
	require.Less(t, down, lowRate*3/2, "from the relay to the edge")
	require.Greater(t, down, lowRate/2)
}

// layerAt returns when the first frame of a layer was there from since on, and
// the last frame's layer.
func layerAt(v *cdntest.Viewer, layer int, since time.Time) (first time.Duration, last int) {
	frames := v.Report().Video().Frames
	for _, f := range frames {
		if f.Layer == layer && f.Done.After(since) && first == 0 {
			first = f.Done.Sub(since)
		}
	}
	return first, frames[len(frames)-1].Layer
}

func requireWhole(t *testing.T, v *cdntest.Viewer) {
	t.Helper()
	r := v.Report().Video()
	require.Zero(t, r.FaultCount+r.Missing, r.Faults)
	for _, f := range r.Frames {
		require.True(t, f.Decodable)
	}
	requireNoDrift(t, r.Frames[len(r.Frames)/8:])
}

// requireNoDrift sees to it that what a viewer had to catch up with has left no
// delay behind: its timestamps go with the publisher's clock.
func requireNoDrift(t *testing.T, frames []cdntest.Frame) {
	t.Helper()
	a, b := frames[0], frames[len(frames)-1]
	media := time.Duration(b.Timestamp-a.Timestamp) * time.Second / 90000
	require.InDelta(t, b.Sent.Sub(a.Sent).Seconds(), media.Seconds(), 0.05)
}

// Of a track with several layers only those travel that somebody behind wants,
// on each link of a chain; and who wants another one gets it within a round trip
// through the chain and a keyframe of the publisher's.
func TestOnlyWantedLayersTravel(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		v := w.view(w.edge, "live", "low", w.path, cdntest.ViewerConfig{Layer: "l"})
		time.Sleep(5 * time.Second)
		w.requireLow(t)

		for name, layer := range map[string]string{"best": "", "named": "h"} {
			begun := time.Now()
			best := w.view(w.edge, "live", name, w.path, cdntest.ViewerConfig{Layer: layer})
			require.NoError(t, best.WaitFrames(w.within(5*time.Second), 30))
			first, _ := layerAt(best, 1, begun)
			t.Logf("%s: the high layer's first frame after %v", name, first)
			require.Less(t, first-best.Report().Connected.Sub(begun), ms(150))
			time.Sleep(3 * time.Second)
			up, down := w.rates(2 * time.Second)
			require.Greater(t, min(up, down), highRate)
			frames := best.Report().Video().Frames
			newest := frames[len(frames)-1]
			require.Less(t, newest.Done.Sub(newest.Sent), ms(60), "it is live")
			requireWhole(t, best)

			require.NoError(t, best.Close())
			time.Sleep(5 * time.Second) // two for each hop, and what is on its way
			w.requireLow(t)
		}
		_, last := layerAt(v, 0, time.Time{})
		require.Equal(t, 0, last)
		requireWhole(t, v)
		for _, n := range []*node{w.origin, w.relay, w.edge} {
			for _, l := range n.Node.Stats().Streams[0].Tracks[0].Layers {
				require.Less(t, l.Nacked, uint64(1), "%s at %s", l.Name, n.name)
			}
		}
	})
}

// A slow viewer has its edge fetch the low layer only; with its path wide again
// it is given the high one, which did not travel meanwhile.
func TestASlowViewerComesBackToALayerThatDidNotTravel(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		narrow := w.path
		narrow.Rate, narrow.Queue = 600_000, 300*time.Millisecond
		host := w.network.Host("viewer", narrow)
		v := cdntest.View(t, cdntest.ViewerConfig{
			Net: host.Net(), Dialer: w.dialer, URL: w.edge.url() + "/whep/live", Stream: "live",
		})
		slow := time.Now()
		for up := highRate; up > lowRate*3/2; up, _ = w.rates(time.Second) {
			require.Less(t, time.Since(slow), 30*time.Second, "the high layer still travels")
		}
		host.SetPath(w.path)
		wide := time.Now()
		time.Sleep(40 * time.Second)
		first, last := layerAt(v, 1, wide)
		t.Logf("the high layer is back after %v", first)
		require.Equal(t, 1, last)
		require.Zero(t, v.Report().Video().FaultCount, v.Report().Video().Faults)
		frames := v.Report().Video().Frames
		live := slices.IndexFunc(frames, func(f cdntest.Frame) bool { return f.Done.Sub(wide) > time.Second })
		requireNoDrift(t, frames[live:]) // it began with what was old, as if that were live, and lower layers settle
		for i, f := range frames {
			if f.Done.Sub(wide) > time.Second {
				require.True(t, f.Decodable, i)
				require.Less(t, f.Done.Sub(f.Sent), ms(600))
			}
		}
	})
}

// Viewers follow what the publisher sends, though the layer that they go over to
// did not travel; and one who wants only what does not come still sees to it
// that the stream is known to live.
func TestALayerThatDidNotTravelIsFollowed(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		v := w.view(w.edge, "live", "viewer", w.path, cdntest.ViewerConfig{})
		named := w.view(w.edge, "live", "named", w.path, cdntest.ViewerConfig{Layer: "h"})
		time.Sleep(6 * time.Second)
		up, down := w.rates(4 * time.Second)
		require.Less(t, max(up, down), highRate*5/4, "without the low layer")
		for range 2 {
			stopped := time.Now()
			w.publisher.PauseLayer("h")
			time.Sleep(10 * time.Second)
			first, last := layerAt(v, 0, stopped)
			t.Logf("the low layer after %v", first)
			require.Equal(t, 0, last)
			require.Less(t, first, 1500*time.Millisecond)
			resumed := time.Now()
			w.publisher.ResumeLayer("h")
			time.Sleep(10 * time.Second)
			first, last = layerAt(v, 1, resumed)
			t.Logf("the high layer after %v", first)
			require.Equal(t, 1, last)
		}
		requireWhole(t, v)
		require.LessOrEqual(t, v.Report().Video().TimestampJumps, 2, "each time that the high layer stopped, and the low one had to catch up")
		require.NoError(t, v.Close())
		w.publisher.PauseLayer("h")
		time.Sleep(20 * time.Second)
		require.Equal(t, 1, w.edge.relay.Stats()[0].Upstream, "nothing is wrong with the relay")
		w.publisher.ResumeLayer("h")
		time.Sleep(2 * time.Second)
		_, last := layerAt(named, 1, time.Time{})
		require.Equal(t, 1, last)
		frames := named.Report().Video().Frames
		require.Less(t, time.Since(frames[len(frames)-1].Done), ms(100))
	})
}

// What nobody asks for is not held on to: a thousand viewers leave no demand.
func TestNobodyLeavesDemandBehind(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		for i := range 20 {
			v := w.view(w.edge, "live", "viewer"+string(rune('a'+i)), w.path, cdntest.ViewerConfig{Layer: []string{"", "l", "h"}[i%3]})
			time.Sleep(time.Duration(i) * ms(50))
			require.NoError(t, v.Close())
		}
		time.Sleep(time.Second)
		for _, l := range w.edge.Node.Stats().Streams[0].Tracks[0].Layers {
			require.Zero(t, l.Demand, l.Name)
		}
		time.Sleep(10 * time.Second)
		for _, s := range w.origin.Node.Stats().Streams {
			for _, l := range s.Tracks[0].Layers {
				require.Zero(t, l.Demand, l.Name)
			}
		}
	})
}

// An edge knows what a layer costs that does not come to it: the nodes tell each other, over
// every hop.
func TestCostsTravel(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		v := w.view(w.edge, "live", "viewer", w.path, cdntest.ViewerConfig{Layer: "l"})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		time.Sleep(8 * time.Second)
		costs := func(n *node) map[string]cdn.LayerStats {
			all := map[string]cdn.LayerStats{}
			for _, track := range n.Node.Stats().Streams[0].Tracks {
				for _, l := range track.Layers {
					if track.Info.Kind == cdn.Video {
						all[l.Name] = l
					}
				}
			}
			return all
		}
		at, here := costs(w.origin), costs(w.edge)
		require.Zero(t, here["h"].Bitrate, "it does not travel")
		require.InEpsilon(t, at["h"].Cost.Bitrate, here["h"].Cost.Bitrate, 0.3)
		require.Greater(t, here["h"].Cost.Bitrate, float64(highRate))
		require.InEpsilon(t, at["l"].Cost.Bitrate, here["l"].Cost.Bitrate, 0.1, "both measure what comes")
		require.Greater(t, here["l"].Cost.Bitrate, float64(lowRate))
		t.Logf("origin %v %v, edge %v %v", at["l"].Cost, at["h"].Cost, here["l"].Cost, here["h"].Cost)
	})
}
