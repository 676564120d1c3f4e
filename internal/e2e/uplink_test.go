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

// An uplinks test collects what is told of publishers' paths.
type uplinks struct {
	*world
	o         *node
	narrow    []cdn.UplinkNarrow
	recovered []cdn.UplinkRecovered
}

func newUplinks(t *testing.T) *uplinks {
	if peerConnections {
		t.Skip("a PeerConnection does not watch its path")
	}
	w := newWorld(t)
	return &uplinks{world: w, o: w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})}
}

// pass lets time pass, and takes what is told.
func (u *uplinks) pass(d time.Duration) {
	time.Sleep(d)
	for {
		select {
		case e := <-u.events:
			switch e := e.(type) {
			case cdn.UplinkNarrow:
				u.narrow = append(u.narrow, e)
			case cdn.UplinkRecovered:
				u.recovered = append(u.recovered, e)
			}
		default:
			return
		}
	}
}

// seen is what statistics say of the path.
func (u *uplinks) seen() cdn.Uplink {
	all := u.o.Stats().Streams
	require.Len(u.t, all, 1)
	require.NotNil(u.t, all[0].Uplink)
	return *all[0].Uplink
}

// A path that becomes too narrow for a publisher is told once, and once when it carries
// everything again.
func TestANarrowUplinkIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUplinks(t)
		path := cdntest.Path{Delay: ms(40), Jitter: ms(20)}
		publisher := u.network.Host("camera", path)
		p := u.publishFrom(u.o, "live", cdntest.PublisherConfig{
			Net: publisher.Net(), Video: &cdntest.Video{Bitrate: 1_000_000}, Audio: &cdntest.Audio{},
		})
		require.NoError(t, p.WaitConnected(u.within(5*time.Second)))
		u.pass(30 * time.Second)
		require.Empty(t, u.narrow)
		seen := u.seen()
		require.False(t, seen.Narrow)
		require.InEpsilon(t, 1_050_000, seen.Bitrate, 0.25)
		require.Less(t, seen.Loss, 0.02) // what is late is counted with the next second
		require.Less(t, seen.Queue, ms(20))

		narrow := path
		narrow.Rate, narrow.Queue = 700_000, ms(300)
		publisher.SetUplink(narrow)
		u.pass(4 * time.Second)
		require.Len(t, u.narrow, 1)
		e := u.narrow[0]
		require.Equal(t, cdn.StreamID("live"), e.Stream)
		require.Equal(t, u.o.Sessions()[0].Session, e.Session)
		require.InEpsilon(t, 1_050_000, e.Uplink.Before, 0.25)
		u.pass(20 * time.Second)
		seen = u.seen()
		require.True(t, seen.Narrow)
		require.Greater(t, seen.Loss, 0.2)
		require.Greater(t, seen.Queue, ms(200))
		require.Empty(t, u.recovered)

		publisher.SetUplink(path)
		u.pass(15 * time.Second)
		require.Len(t, u.recovered, 1)
		require.Greater(t, u.recovered[0].Lasted, 25*time.Second)
		require.False(t, u.seen().Narrow)
		u.pass(20 * time.Second)
		require.Len(t, u.narrow, 1)
		require.Len(t, u.recovered, 1)
		require.Equal(t, uint64(1), u.o.Stats().Totals.NarrowUplinks)
	})
}

// Of a path with jitter, reordering and some loss nothing is told.
func TestAnUplinkThatIsNotNarrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUplinks(t)
		p := u.publish(u.o, "live", cdntest.Path{Delay: ms(80), Jitter: ms(50), Loss: 0.04, Reorder: 0.02}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(u.within(5*time.Second)))
		u.pass(time.Minute)
		require.Empty(t, u.narrow)
		require.Greater(t, u.seen().Loss, 0.01)
		p.Pause()
		u.pass(10 * time.Second)
		p.Resume()
		u.pass(20 * time.Second)
		require.Empty(t, u.narrow)
	})
}

// windowed is how much longer a change of layers may take where several viewers change: the
// keyframe that one of them has asked for may come a moment early for the next, and another
// is not asked for within the keyframe window.
const windowed = 500 * time.Millisecond

// The layers that a browser drops are told, and their viewers get the next lower one
// within a second, or with the next keyframe.
func TestLayersThatAPublisherDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUplinks(t)
		path := cdntest.Path{Delay: ms(20)}
		e := u.edge("edge", path, edge.Config{}, u.o)
		p := u.publish(u.o, "live", path, cdntest.PublisherConfig{
			Audio: &cdntest.Audio{},
			Video: &cdntest.Video{KeyframeInterval: 10 * time.Second, Layers: []cdntest.VideoLayer{
				{RID: "l", Bitrate: 150_000, Width: 320, Height: 180},
				{RID: "m", Bitrate: 500_000, Width: 640, Height: 360},
				{RID: "h", Bitrate: 1_500_000, Width: 1280, Height: 720},
			}},
		})
		require.NoError(t, p.WaitConnected(u.within(5*time.Second)))
		viewers := []*cdntest.Viewer{
			u.view(u.o, "live", "near", path, cdntest.ViewerConfig{}),
			u.view(e, "live", "far", path, cdntest.ViewerConfig{}),
			u.view(e, "live", "low", path, cdntest.ViewerConfig{Layer: "l"}),
		}
		u.pass(12 * time.Second)
		layers := func() (all []int) {
			for _, v := range viewers {
				f := v.Report().Video().Frames
				all = append(all, f[len(f)-1].Layer)
			}
			return all
		}
		require.Equal(t, []int{2, 2, 0}, layers())
		require.Equal(t, []string{"l", "m", "h"}, u.seen().Layers)

		p.PauseLayer("h")
		u.pass(time.Second + windowed)
		require.Equal(t, []int{1, 1, 0}, layers())
		u.pass(2500 * time.Millisecond)
		require.Len(t, u.narrow, 1)
		require.Equal(t, []string{"h"}, u.narrow[0].Uplink.Missing)
		require.Equal(t, []string{"l", "m"}, u.narrow[0].Uplink.Layers)
		p.PauseLayer("m")
		u.pass(time.Second + windowed)
		require.Equal(t, []int{0, 0, 0}, layers())
		u.pass(3 * time.Second)
		require.Equal(t, []string{"m", "h"}, u.seen().Missing)

		p.ResumeLayer("m")
		p.ResumeLayer("h")
		u.pass(15 * time.Second)
		require.Equal(t, []int{2, 2, 0}, layers())
		require.Len(t, u.narrow, 1)
		require.Len(t, u.recovered, 1)
		for i, v := range viewers {
			r := v.Report().Video()
			require.Zero(t, r.FaultCount+r.Missing, r.Faults)
			require.Zero(t, r.Undecodable())
			require.Less(t, r.Gap(), []time.Duration{time.Second + windowed, time.Second + windowed, ms(50)}[i])
			t.Logf("viewer %d: longest time from a frame to the next %v", i, r.Gap())
		}
	})
}
