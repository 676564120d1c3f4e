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
	"github.com/deltacdn/delta/relay"
)

// A hop is two nodes between which the path changes, with viewers behind it.
type hop struct {
	*world
	from, to *node
}

func onHop(t *testing.T, f func(w *hop)) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := &hop{world: newWorld(t)}
		w.from = w.origin("origin", cdntest.Path{}, origin.Config{})
		w.to = w.edge("edge", cdntest.Path{}, edge.Config{}, w.from)
		w.carries(0)
		f(w)
	})
}

// carries sets what the path between the nodes carries, in bits a second; 0: all.
func (w *hop) carries(rate int) {
	w.network.Between(w.from.host, w.to.host, cdntest.Path{Delay: ms(20), Rate: rate, Queue: ms(300)})
}

// stream is layered and watch.
func (w *hop) stream(name cdn.StreamID, bitrates ...int) *cdntest.Viewer {
	w.layered(name, bitrates...)
	return w.watch(name)
}

// layered publishes sound and layers of video with such bitrates.
func (w *hop) layered(name cdn.StreamID, bitrates ...int) *cdntest.Publisher {
	var layers []cdntest.VideoLayer
	for i, b := range bitrates {
		l := cdntest.VideoLayer{Bitrate: b, Width: 320 << i, Height: 180 << i}
		if len(bitrates) > 1 {
			l.RID = string(rune('a' + i))
		}
		layers = append(layers, l)
	}
	p := w.publish(w.from, name, cdntest.Path{}, cdntest.PublisherConfig{Audio: &cdntest.Audio{}, Video: &cdntest.Video{Layers: layers}})
	require.NoError(w.t, p.WaitConnected(w.within(5*time.Second)))
	time.Sleep(3 * time.Second)
	return p
}

// watch returns a viewer behind the hop that has watched for a while.
func (w *hop) watch(name cdn.StreamID) *cdntest.Viewer {
	v := w.view(w.to, name, string(name)+"-viewer", cdntest.Path{Delay: ms(10)}, cdntest.ViewerConfig{})
	require.NoError(w.t, v.WaitFrames(w.within(5*time.Second), 30))
	time.Sleep(3 * time.Second)
	return v
}

// link returns what the sending node knows of its link.
func (w *hop) link() relay.LinkStats {
	all := relay.Links(w.from.Node)
	require.Len(w.t, all, 1)
	return all[0]
}

// adapted returns the events that tell of layers held back.
func (w *hop) adapted() (all []cdn.LinkAdapted) {
	for _, e := range w.told() {
		if e, ok := e.(cdn.LinkAdapted); ok {
			w.t.Logf("%+v", e)
			all = append(all, e)
		}
	}
	return all
}

// shown returns which layer a viewer gets now; -1: none comes.
func shown(v *cdntest.Viewer) int {
	frames := v.Report().Video().Frames
	if f := frames[len(frames)-1]; time.Since(f.Done) < 500*time.Millisecond {
		return f.Layer
	}
	return -1
}

// soundBetween returns how many packets of sound came that were sent between two times, and
// the longest time between two.
func soundBetween(v *cdntest.Viewer, from, to time.Time) (n int, gap time.Duration) {
	last := from
	for _, f := range v.Report().Audio().Frames {
		if f.Sent.Before(from) || f.Sent.After(to) {
			continue
		}
		gap = max(gap, f.Sent.Sub(last))
		last = f.Sent
		n++
	}
	return n, gap
}

// A path between two nodes that becomes narrow costs the highest layer. Viewers get what
// fits soon, and the best again once there is room. Sound goes on.
func TestANarrowLink(t *testing.T) {
	onHop(t, func(w *hop) {
		v := w.stream("live", 150_000, 500_000, 2_500_000)
		require.Equal(t, 2, shown(v))
		require.Zero(t, w.link().Estimate)
		require.Empty(t, w.link().HeldBack)
		w.told()

		fell := time.Now()
		w.carries(1_200_000)
		time.Sleep(3 * time.Second)
		require.Contains(t, []int{0, 1}, shown(v))
		require.Equal(t, []cdn.StreamID{"live"}, w.link().HeldBack)
		time.Sleep(12 * time.Second)
		require.Equal(t, 1, shown(v), "the best that fits")
		require.InDelta(t, 1_100_000, w.link().Estimate, 400_000)
		n, gap := soundBetween(v, fell.Add(2*time.Second), time.Now().Add(-time.Second))
		require.LessOrEqual(t, gap, ms(40), "of %d packets of sound", n)
		events := w.adapted()
		require.NotEmpty(t, events)
		require.Equal(t, cdn.NodeID("edge"), events[0].Node)
		require.True(t, events[0].Lower)
		require.Contains(t, []string{"congestion", "loss"}, events[0].Reason)
		require.Equal(t, 1, events[len(events)-1].HeldBack)

		w.carries(0)
		time.Sleep(15 * time.Second)
		require.Equal(t, 2, shown(v))
		require.Empty(t, w.link().HeldBack)
		t.Logf("the picture stood for %v", v.Report().Video().Gap())
		require.Less(t, v.Report().Video().Gap(), 2500*time.Millisecond)
		events = w.adapted()
		require.Equal(t, "room", events[len(events)-1].Reason)
		require.Zero(t, events[len(events)-1].HeldBack)
		time.Sleep(15 * time.Second)
		require.Zero(t, w.link().Estimate, "it is not watched any more")
	})
}

// Of several streams the highest layers are held back first, of all of them, and a stream
// that has one layer keeps it as long as others keep their lowest.
func TestANarrowLinkOfSeveralStreams(t *testing.T) {
	onHop(t, func(w *hop) {
		a := w.stream("a", 150_000, 1_500_000)
		b := w.stream("b", 150_000, 1_500_000)
		c := w.stream("c", 400_000)
		w.carries(1_600_000)
		time.Sleep(15 * time.Second)
		require.Equal(t, []int{0, 0, 0}, []int{shown(a), shown(b), shown(c)})
		require.Equal(t, []cdn.StreamID{"a", "b"}, w.link().HeldBack)
		w.carries(0)
		time.Sleep(20 * time.Second)
		require.Equal(t, []int{1, 1, 0}, []int{shown(a), shown(b), shown(c)})
	})
}

// A path that carries no video carries sound, and a path that has room again shows the
// picture again.
func TestALinkThatCarriesSoundAlone(t *testing.T) {
	onHop(t, func(w *hop) {
		v := w.stream("live", 1_000_000)
		fell := time.Now()
		w.carries(200_000)
		time.Sleep(20 * time.Second)
		require.Equal(t, -1, shown(v))
		n, gap := soundBetween(v, fell.Add(5*time.Second), time.Now().Add(-time.Second))
		require.LessOrEqual(t, gap, ms(60), "of %d packets of sound", n)
		require.Equal(t, []cdn.StreamID{"live"}, w.link().HeldBack)
		w.carries(0)
		time.Sleep(20 * time.Second)
		require.Equal(t, 0, shown(v))
		require.Empty(t, w.link().HeldBack)
	})
}

// What one hop holds back, nodes and viewers behind the next one do not wait for.
func TestANarrowLinkAheadOfAnother(t *testing.T) {
	onLadder(t, func(t *testing.T, w *ladder) {
		v := w.view(w.edge, "live", "viewer", w.path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		time.Sleep(3 * time.Second)
		require.Equal(t, 1, shown(v))
		w.network.Between(w.origin.host, w.relay.host, cdntest.Path{Delay: ms(10), Rate: 500_000, Queue: ms(300)})
		time.Sleep(4 * time.Second)
		require.Equal(t, 0, shown(v))
		time.Sleep(4 * time.Second)
		require.Equal(t, 0, shown(v))
		w.network.Between(w.origin.host, w.relay.host, w.path)
		time.Sleep(20 * time.Second)
		require.Equal(t, 1, shown(v))
		t.Logf("the picture stood for %v", v.Report().Video().Gap())
		require.Less(t, v.Report().Video().Gap(), 3*time.Second)
	})
}

// A stream that begins on a narrow link gets its lowest layer, at the expense of higher ones.
func TestANarrowLinkGetsAnotherStream(t *testing.T) {
	onHop(t, func(w *hop) {
		a := w.stream("a", 150_000, 1_000_000)
		w.carries(1_500_000)
		time.Sleep(5 * time.Second)
		require.Equal(t, 1, shown(a))
		b := w.stream("b", 150_000, 1_500_000)
		time.Sleep(10 * time.Second)
		require.Equal(t, 0, shown(b))
		require.GreaterOrEqual(t, shown(a), 0)
	})
}

// A publisher that mutes its camera on a narrow link comes back with what fits, and nothing
// that was found out is forgotten meanwhile.
func TestANarrowLinkOfAStreamThatPauses(t *testing.T) {
	onHop(t, func(w *hop) {
		p := w.layered("live", 150_000, 500_000, 2_500_000)
		v := w.watch("live")
		w.carries(1_200_000)
		time.Sleep(20 * time.Second)
		require.Equal(t, 1, shown(v))
		w.told()
		for range 2 {
			for _, rid := range []string{"a", "b", "c"} {
				p.PauseLayer(rid)
			}
			time.Sleep(6 * time.Second)
			for _, rid := range []string{"a", "b", "c"} {
				p.ResumeLayer(rid)
			}
			time.Sleep(6 * time.Second)
			require.GreaterOrEqual(t, shown(v), 0)
			require.Less(t, shown(v), 2)
			require.Equal(t, []cdn.StreamID{"live"}, w.link().HeldBack)
		}
		for _, e := range w.adapted() {
			require.Positive(t, e.HeldBack, "it was never found to carry all")
		}
	})
}

// After a long time without media nothing is known of the path any more, and nothing is held
// back. An event tells it.
func TestANarrowLinkOfNothing(t *testing.T) {
	onHop(t, func(w *hop) {
		p := w.publish(w.from, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
			{RID: "a", Bitrate: 150_000, Width: 320, Height: 180}, {RID: "b", Bitrate: 2_500_000, Width: 1280, Height: 720},
		}}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(3 * time.Second)
		v := w.watch("live")
		w.carries(1_000_000)
		time.Sleep(5 * time.Second)
		require.Equal(t, 0, shown(v))
		require.Equal(t, []cdn.StreamID{"live"}, w.link().HeldBack)
		p.Pause()
		time.Sleep(15 * time.Second)
		require.Empty(t, w.link().HeldBack)
		events := w.adapted()
		require.Zero(t, events[len(events)-1].HeldBack)
		w.carries(0)
		p.Resume()
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, shown(v))
	})
}

// When the streams of a narrow link are gone, nothing is left of them.
func TestNothingIsLeftOfANarrowLink(t *testing.T) {
	onHop(t, func(w *hop) {
		w.layered("live", 150_000, 2_500_000)
		v := w.watch("live")
		w.carries(1_000_000)
		time.Sleep(5 * time.Second)
		require.Equal(t, []cdn.StreamID{"live"}, w.link().HeldBack)
		require.NoError(t, v.Close())
		time.Sleep(60 * time.Second)
		require.Empty(t, w.link().Served)
		require.Empty(t, w.link().HeldBack)
		require.Zero(t, w.link().Estimate)
	})
}

// The highest layer may be declared first. What is held back comes again all the same, and
// nothing that is sent to find room for it is taken for media.
func TestANarrowLinkWithTheHighestLayerFirst(t *testing.T) {
	onHop(t, func(w *hop) {
		w.layered("live", 2_500_000, 500_000, 150_000)
		v := w.watch("live")
		require.Equal(t, 0, shown(v))
		for range 2 {
			w.carries(400_000)
			time.Sleep(15 * time.Second)
			require.Equal(t, 2, shown(v))
			w.carries(0)
			time.Sleep(20 * time.Second)
			require.Equal(t, 0, shown(v))
		}
		require.Zero(t, v.Report().Video().FaultCount, v.Report().Video().Faults)
	})
}
