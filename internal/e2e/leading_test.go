package delta_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
)

// A spy keeps the sessions that a handler makes.
type spy struct {
	signal.Handler
	mu  sync.Mutex
	all []signal.StatusSession
}

func (s *spy) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	session, err := s.Handler.Offer(ctx, o)
	if err == nil {
		s.mu.Lock()
		s.all = append(s.all, session.(signal.StatusSession)) //nolint:forcetypeassert,errcheck // an edge's are
		s.mu.Unlock()
	}
	return session, err
}

// An edge that leaves asks its viewers, one after the other, to go to a sibling, sends
// there who comes, and says goodbye to those that are left at the deadline.
func TestAnEdgeDrains(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newFoundWorld(t)
		o := w.originAt("origin", cdntest.Path{Delay: ms(1)})
		e1, e2 := w.steeredEdge("edge1", "eu", 100), w.steeredEdge("edge2", "eu", 100)
		s := &spy{Handler: e1.edge}
		w.dialer.Handle("http://edge1/whep/", s)
		time.Sleep(6 * time.Second)
		p := w.publish(o, "live", cdntest.Path{}, sparse())
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		view := func() *cdntest.Viewer {
			v := w.view(e1, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{Kinds: []cdn.Kind{cdn.Video}})
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 3))
			return v
		}
		var viewers []*cdntest.Viewer
		for range 8 {
			viewers = append(viewers, view())
		}
		begun := time.Now()
		var asked []time.Duration
		var mu sync.Mutex
		var waits sync.WaitGroup
		for i, session := range s.all {
			waits.Go(func() {
				for seen := session.Status(); ; {
					seen = session.AwaitStatus(w.within(30*time.Second), seen)
					if seen.Reconnect || time.Since(begun) > 25*time.Second {
						break
					}
				}
				status := session.Status()
				mu.Lock()
				defer mu.Unlock()
				if status.Reconnect {
					require.Equal(t, "http://edge2", status.ReconnectURL)
					asked = append(asked, time.Since(begun))
				}
				if i < 6 { // these obey
					_ = viewers[i].Close()
				}
			})
		}
		err := e1.Drain(w.within(20 * time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded, "two stay")
		require.InDelta(t, 20, time.Since(begun).Seconds(), 0.1)
		waits.Wait()
		require.Len(t, asked, 8)
		first, last := asked[0], asked[7]
		require.Less(t, last, 10*time.Second+ms(1), "within half of the time")
		require.Greater(t, last-first, 2*time.Second, "not all at once")
		for _, v := range viewers[6:] {
			require.NoError(t, v.WaitBye(w.within(time.Second)))
			require.Equal(t, "over limit", v.Report().Video().ByeReason)
		}
		require.Zero(t, e1.Stats().Sessions)

		// Who comes is sent to the sibling, and stays once the edge is back.
		view()
		require.Equal(t, 1, e2.edge.Stats().Viewers["live"])
		e1.Undrain()
		view()
		require.Equal(t, 1, e1.edge.Stats().Viewers["live"])
	})
}

// Of two origins that a publisher sends the same to, one leaves: who has the stream
// from it goes over to the other, and nothing is
// missing.
func TestOneOriginOfTwoDrains(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newFoundWorld(t)
		var origins []*node
		for _, name := range []string{"origin1", "origin2"} {
			origins = append(origins, w.originAt(name, cdntest.Path{Delay: ms(1)}))
		}
		e := w.edgeAt("edge", cdntest.Path{Delay: ms(1)})
		time.Sleep(6 * time.Second)
		for _, o := range origins {
			p, err := cdntest.NewPublisher(w.within(10*time.Second), cdntest.PublisherConfig{
				Net: w.network.Host("publisher", cdntest.Path{}).Net(), Dialer: w.dialer, URL: o.url() + "/whip/live", Stream: "live",
				Publication: "show", Video: &cdntest.Video{Bitrate: 400_000},
			})
			require.NoError(t, err)
			defer p.Kill()
		}
		time.Sleep(time.Second)
		v := w.view(e, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))
		from := upstreams(e)["live"]
		for _, o := range origins {
			if o.ID() == from {
				go func() { _ = o.Drain(w.within(8 * time.Second)) }()
			}
		}
		time.Sleep(10 * time.Second)
		require.NotEqual(t, from, upstreams(e)["live"])
		r := v.Report().Video()
		requireForward(t, r)
		require.Less(t, gap(r, v.Report().Connected), ms(150), "the two encoders are not one")
	})
}

// A relay of a stream with several layers leaves while only one of them is watched, one
// of which more was watched before. What does not travel is not waited for for ever.
func TestARelayDrainsThatHasLayers(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newFoundWorld(t)
		o := w.originAt("origin", cdntest.Path{Delay: ms(1)})
		relays := map[cdn.NodeID]*node{"relay1": w.relayAt("relay1", cdntest.Path{Delay: ms(1)}), "relay2": w.relayAt("relay2", cdntest.Path{Delay: ms(1)})}
		e := w.edgeAt("edge", cdntest.Path{Delay: ms(1)})
		time.Sleep(6 * time.Second)
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Layers: []cdntest.VideoLayer{
			{RID: "l", Width: 320, Height: 180, Bitrate: 100_000}, {RID: "m", Width: 640, Height: 360, Bitrate: 200_000}, {RID: "h", Width: 1280, Height: 720, Bitrate: 400_000},
		}}, Audio: &cdntest.Audio{}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		low := w.view(e, "live", "low", cdntest.Path{}, cdntest.ViewerConfig{Layer: "l"})
		require.NoError(t, low.WaitFrames(w.within(5*time.Second), 30))
		v := w.view(e, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))
		require.NoError(t, low.Close())
		time.Sleep(5 * time.Second) // its layer does not travel any more
		for range 2 {
			from := upstreams(e)["live"]
			require.NoError(t, relays[from].Drain(w.within(12*time.Second)))
			require.NotEqual(t, from, upstreams(e)["live"])
			relays[from].Undrain()
			time.Sleep(3 * time.Second)
		}
		r := v.Report()
		for _, track := range r.Tracks {
			require.Zero(t, track.FaultCount, track.Faults)
			require.Zero(t, track.Missing+track.Duplicates, "%s", track.Kind)
		}
	})
}

// A drain is taken back: it fails, and who is there stays.
func TestADrainIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		p := w.publish(o, "live", cdntest.Path{}, sparse())
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := w.view(o, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{Kinds: []cdn.Kind{cdn.Video}})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 5))
		drained := make(chan error)
		go func() { drained <- o.Drain(w.within(time.Minute)) }()
		time.Sleep(time.Second)
		require.True(t, o.Draining())
		require.ErrorIs(t, w.refused(o), cdn.ErrOverLimit)
		o.Undrain()
		require.ErrorIs(t, <-drained, cdn.ErrSuperseded)
		require.False(t, o.Draining())
		require.NoError(t, w.refused(o))
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 20))
	})
}
