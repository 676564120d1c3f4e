package delta_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A lecture is a policy for pictures with text: below 300 lines nobody can read it, and above
// most lines nobody needs it.
type lecture struct{ most *atomic.Int64 }

func (p lecture) Choose(v edge.View) edge.Choice {
	least, most := len(v.Options)-1, 0
	for i, o := range v.Options {
		if o.Mode == edge.ModeFull && o.Height >= 300 {
			least = min(least, i)
		}
		if o.Height <= int(p.most.Load()) {
			most = i
		}
	}
	return edge.Within(least, most)
}

// A policy of the user's decides what its viewer gets: no more and no less than it wants, by a
// probe, and otherwise sound. What it wants may change while the viewer has all of it. Those
// that are wrong harm nobody: with one that panics the edge decides alone, and others' viewers
// see nothing of it.
func TestAPolicyDecides(t *testing.T) {
	skipPeerConnections(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		most := new(atomic.Int64)
		most.Store(720)
		policies := []edge.Policy{nil, lecture{most}, broken{}}
		var made atomic.Int64
		adapt := edge.Adapt{Policy: func() edge.Policy { return policies[made.Add(1)-1] }}
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		e := w.edge("edge", cdntest.Path{}, edge.Config{Adapt: func(cdn.StreamID) edge.Adapt { return adapt }}, o)
		video := &cdntest.Video{}
		for i, bits := range rungs {
			video.Layers = append(video.Layers, cdntest.VideoLayer{RID: string(rune('a' + i)), Bitrate: bits, Width: 320 << i, Height: 180 << i})
		}
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: video, Audio: &cdntest.Audio{}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(5 * time.Second) // until bitrates are known
		var viewers []*cdntest.Viewer
		wide := cdntest.Path{Delay: ms(20)}
		for _, name := range []string{"other", "reader", "broken"} {
			viewers = append(viewers, w.view(e, "live", name, wide, asChromium()))
			time.Sleep(5 * time.Second) // the edge knows all layers for the next
		}
		time.Sleep(15 * time.Second)
		a := &adapted{world: w, node: e, viewer: viewers[1], host: w.network.Host("reader", wide), began: []time.Time{time.Now()}}
		steps := []struct {
			most  int64
			path  cdntest.Path
			long  time.Duration // until it is so
			layer int           // -1: none
		}{
			{720, wide, 0, 2},
			{9999, wide, 8 * time.Second, 3},
			{9999, wide, 20 * time.Second, 3}, // then no estimate is needed any more
			{400, wide, 2 * time.Second, 1},
			{720, wide, 8 * time.Second, 2},
			{720, narrow(400_000), 5 * time.Second, -1},
			{9999, wide, 20 * time.Second, 3},
		}
		for i, s := range steps {
			most.Store(s.most)
			a.host.SetDownlink(s.path)
			time.Sleep(s.long)
			begun := time.Now()
			time.Sleep(5 * time.Second)
			seen := map[int]bool{}
			for _, f := range a.layers() {
				if f.Sent.After(begun) {
					seen[f.Layer] = true
				}
			}
			if s.layer < 0 {
				require.Empty(t, seen, "step %d", i)
				require.True(t, slices.ContainsFunc(e.edge.Stats().Sessions, func(v edge.ViewerStats) bool { return v.Path.Mode == "paused" }))
				continue
			}
			require.Equal(t, map[int]bool{s.layer: true}, seen, "step %d", i)
		}
		a.log()
		for _, f := range a.layers() {
			require.NotZero(t, f.Layer, "the lowest layer is never wanted")
		}
		require.LessOrEqual(t, viewers[1].Report().Audio().Gap(), ms(500))
		for _, v := range []*cdntest.Viewer{viewers[0], viewers[2]} {
			frames := v.Report().Video().Frames
			require.Equal(t, 3, frames[len(frames)-1].Layer)
			require.Less(t, v.Report().Video().Gap(), ms(500))
		}
		require.EqualValues(t, len(policies), made.Load())
	})
}

// broken is a policy that fails.
type broken struct{}

func (broken) Choose(v edge.View) edge.Choice {
	return edge.Choice{Send: v.Options[len(v.Options)].Bitrate}
}

// A stubborn policy sends the layer that it is told to, and asks for a probe for the best one
// when it is told to.
type stubborn struct {
	layer           atomic.Int64
	ask             atomic.Bool
	probing         atomic.Bool
	congested, room atomic.Bool // were seen
}

func (p *stubborn) Choose(v edge.View) edge.Choice {
	c := edge.Choice{}
	for i, o := range v.Options {
		if o.Mode == edge.ModeFull && int64(o.Layer[0]-'a') <= p.layer.Load() {
			c.Send = i
		}
	}
	p.probing.Store(v.Probing)
	if v.Congested {
		p.congested.Store(true)
	}
	if v.Room > v.Current && v.Options[v.Room].Layer == "d" {
		p.room.Store(true)
	}
	if p.ask.Swap(false) {
		c.Probe = len(v.Options) - 1
	}
	return c
}

// A policy of the user's replaces the edge's: what it says is sent, also through a path that does
// not carry that, and what it does not ask for is not probed for. A probe that it asks for finds
// room where there is some, with RTX and without.
func TestAPolicyReplacesTheEdges(t *testing.T) {
	skipPeerConnections(t)
	for name, noRTX := range map[string]bool{"RTX": false, "no RTX": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := asChromium()
				c.NoRTX = noRTX
				policyReplaces(t, c)
			})
		})
	}
}

func policyReplaces(t *testing.T, config cdntest.ViewerConfig) {
	w, policy := newWorld(t), new(stubborn)
	policy.layer.Store(1)
	o := w.origin("origin", cdntest.Path{}, origin.Config{})
	policies := make(chan edge.Policy, 2)
	policies <- nil
	policies <- policy
	adapt := edge.Adapt{Policy: func() edge.Policy { return <-policies }}
	e := w.edge("edge", cdntest.Path{}, edge.Config{Adapt: func(cdn.StreamID) edge.Adapt { return adapt }}, o)
	video := &cdntest.Video{KeyframeInterval: 2 * time.Second}
	for i, bits := range rungs {
		video.Layers = append(video.Layers, cdntest.VideoLayer{RID: string(rune('a' + i)), Bitrate: bits})
	}
	p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: video, Audio: &cdntest.Audio{}})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	wide := cdntest.Path{Delay: ms(20)}
	other := w.view(e, "live", "other", wide, asChromium()) // the edge knows all layers for the next
	time.Sleep(5 * time.Second)
	require.NoError(t, other.Close())
	a := &adapted{world: w, node: e, viewer: w.view(e, "live", "viewer", wide, config), host: w.network.Host("viewer", wide)}
	shown := func(long time.Duration) map[int]bool {
		begun, seen := time.Now(), map[int]bool{}
		time.Sleep(long)
		for _, f := range a.layers() {
			if f.Sent.After(begun) {
				seen[f.Layer] = true
			}
		}
		return seen
	}
	time.Sleep(5 * time.Second)
	require.Equal(t, map[int]bool{1: true}, shown(20*time.Second), "not more, though there is room")
	require.False(t, policy.room.Load())
	require.False(t, policy.probing.Load())

	a.host.SetDownlink(narrow(400_000))
	shown(8 * time.Second)
	require.True(t, policy.congested.Load())
	require.Equal(t, "b", e.edge.Stats().Sessions[0].Layer, "not less, though the path does not carry it")
	a.host.SetDownlink(wide)
	time.Sleep(5 * time.Second)
	require.False(t, policy.room.Load())

	policy.ask.Store(true)
	time.Sleep(10 * time.Second)
	require.True(t, policy.room.Load())
	require.False(t, policy.probing.Load())
	require.Equal(t, map[int]bool{1: true}, shown(5*time.Second), "the policy has yet to take it")
	policy.layer.Store(3)
	time.Sleep(4 * time.Second)
	require.Equal(t, map[int]bool{3: true}, shown(5*time.Second))
}
