package delta_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/bubble"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// Two hundred streams come by one link, all of them whole, and cost it no goroutine
// each.
func TestManyStreamsOnOneLink(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		n := fewer(200)
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(12)}, origin.Config{})
		e := w.edge("edge", cdntest.Path{Delay: ms(12)}, edge.Config{}, o)
		name := func(i int) cdn.StreamID { return cdn.StreamID(fmt.Sprint("live/", i)) }
		for i := range n {
			p := w.publish(o, name(i), cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 50_000, FPS: 3}})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		}
		time.Sleep(time.Second)
		before := bubble.Goroutines()
		subs := make([]*cdn.Subscription, n)
		begun := time.Now()
		for i := range subs {
			var err error
			subs[i], err = e.relay.Open(t.Context(), cdn.Request{Stream: name(i)})
			require.NoError(t, err)
			defer subs[i].Close()
		}
		for _, s := range subs {
			require.NoError(t, s.Stream().Ready(w.within(5*time.Second)))
		}
		require.Less(t, time.Since(begun), ms(300), "some round trips of 48 ms, for so many answers")
		viewers := make([]*cdntest.Viewer, 0, n/20)
		for i := 0; i < n; i += 20 {
			viewers = append(viewers, w.view(e, name(i), "viewer", cdntest.Path{}, cdntest.ViewerConfig{}))
		}
		time.Sleep(5 * time.Second)
		for _, s := range subs {
			for _, tr := range s.Stream().Tracks() {
				require.NotNil(t, tr.Layers()[0].Newest())
				require.Less(t, time.Since(tr.Layers()[0].Newest().Arrival), time.Second)
			}
		}
		for _, v := range viewers {
			r := v.Report().Video()
			require.NotEmpty(t, r.Frames)
			require.Zero(t, r.FaultCount, r.Faults)
			require.NoError(t, v.Close())
		}
		links := relay.Links(e.Node)
		require.Len(t, links, 1)
		require.Len(t, links[0].Fetched, n)
		require.Greater(t, links[0].BitrateIn, 0.9*float64(n)*50_000)
		// At the edge the stream's own goroutine, and the fetch; at the origin what waits
		// for its end.
		have := bubble.Goroutines()
		t.Logf("goroutines: %d before, %d with %d streams", before, have, n)
		require.LessOrEqual(t, have-before, 4*n+50)
		for _, s := range subs {
			s.Close()
		}
		time.Sleep(7 * time.Second) // more than they linger
		require.LessOrEqual(t, bubble.Goroutines(), before+10, "nothing of them is left")
		require.Len(t, relay.Links(e.Node), 1)
		require.Empty(t, relay.Links(e.Node)[0].Fetched)
	})
}

// What a hop between nodes loses is repaired on it. The publisher hears nothing of
// it: neither is it asked for packets again, nor for pictures.
func TestThePublisherHearsNothingOfAHopsLoss(t *testing.T) {
	needLinks(t)
	frames := 1800
	if raceEnabled {
		frames = 900
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		e := w.edge("edge", cdntest.Path{}, edge.Config{}, o)
		w.network.Between(o.host, e.host, cdntest.Path{Delay: ms(20), Jitter: ms(30), Loss: 0.05})
		p := w.publish(o, "live", cdntest.Path{Delay: ms(5)}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 2_000_000, KeyframeInterval: 2 * time.Second}})
		require.NoError(t, p.WaitConnected(w.within(20*time.Second)))
		v := w.view(e, "live", "viewer", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 60))
		asked := p.Report().Video[0].KeyframeRequests() // for the beginning, perhaps
		require.NoError(t, v.WaitFrames(w.within(3*time.Minute), frames))
		require.Equal(t, asked, p.Report().Video[0].KeyframeRequests())
		for _, s := range o.Node.Stats().Streams {
			for _, tr := range s.Tracks {
				for _, l := range tr.Layers {
					require.Zero(t, l.Nacked)
				}
			}
		}
		r := v.Report().Video()
		require.Zero(t, r.FaultCount, r.Faults)
		require.Greater(t, r.WholeWithin(time.Second), 0.995, "and it was repaired")
	})
}
