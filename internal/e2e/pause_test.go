package delta_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// places are where a viewer can be.
var places = map[string]func(w *world, o *node) (at *node, between []*node){
	"origin": func(_ *world, o *node) (*node, []*node) { return o, nil },
	"hop": func(w *world, o *node) (*node, []*node) {
		return w.edge("edge", cdntest.Path{Delay: ms(5)}, edge.Config{}, o), nil
	},
	"three hops": func(w *world, o *node) (*node, []*node) {
		path := cdntest.Path{Delay: ms(5)}
		one := w.relay("one", path, o)
		two := w.relay("two", path, one)
		return w.edge("edge", path, edge.Config{}, two), []*node{one, two}
	},
	"two relays": func(w *world, o *node) (*node, []*node) {
		path := cdntest.Path{Delay: ms(5)}
		one, two := w.relay("one", path, o), w.relay("two", path, o)
		return w.edge("edge", path, edge.Config{}, one, two), []*node{one, two}
	},
}

// A pause is a publisher that stays connected and sends nothing, as one whose sound
// is muted and whose screen stands still.
type pause struct {
	*world
	origin, at *node
	between    []*node
	publisher  *cdntest.Publisher
	viewer     *cdntest.Viewer
}

func newPause(t *testing.T, place string) *pause {
	w := newWorld(t)
	path := cdntest.Path{Delay: ms(5)}
	o := w.origin("origin", path, origin.Config{})
	at, between := places[place](w, o)
	p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 200_000}, Audio: &cdntest.Audio{}})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	s := &pause{world: w, origin: o, at: at, between: between, publisher: p}
	s.viewer = s.join("viewer")
	require.NoError(t, s.viewer.WaitFrames(w.within(10*time.Second), 90))
	return s
}

func (s *pause) join(name string) *cdntest.Viewer {
	return s.view(s.at, "live", name, cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
}

// resume ends the pause, and fails the test if a viewer has no picture 0.5 s later,
// or something is wrong with what it got.
func (s *pause) resume(viewers ...*cdntest.Viewer) {
	s.publisher.Resume()
	resumed := time.Now()
	time.Sleep(3 * time.Second)
	for _, v := range viewers {
		select {
		case <-v.Done():
			s.t.Fatal("a viewer's session has ended")
		default:
		}
		r := v.Report().Video()
		require.Zero(s.t, r.FaultCount, r.Faults)
		require.True(s.t, r.BeganWithKeyframe)
		require.Zero(s.t, r.Undecodable())
		var first time.Time
		for _, f := range r.Frames {
			if f.Sent.After(resumed) && first.IsZero() {
				first = f.Done
			}
		}
		require.Less(s.t, first.Sub(resumed), ms(500))
		require.False(s.t, first.IsZero())
		require.Less(s.t, r.Frames[len(r.Frames)-1].Latency(), ms(100))
	}
}

// A publisher that is silent, and connected, leaves viewers behind hops as it leaves
// those at the origin, however long that lasts.
func TestSilenceLeavesViewersWhereTheyAre(t *testing.T) {
	for _, place := range someOf(slices.Sorted(maps.Keys(places))) {
		for _, lasts := range someOf([]time.Duration{10 * time.Second, 30 * time.Second, 10 * time.Minute}) {
			t.Run(fmt.Sprint(place, " ", lasts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newPause(t, place)
					for len(s.events) > 0 {
						<-s.events
					}
					s.publisher.Pause()
					time.Sleep(lasts)
					s.resume(s.viewer)
					for len(s.events) > 0 {
						switch e := (<-s.events).(type) { // a standby is tried now and then
						case cdn.UpstreamChanged:
							require.NoError(t, e.Err)
						case cdn.SessionEnded:
							require.NotEqual(t, cdn.ActionPlay, e.Action)
						}
					}
					require.Equal(t, 1, s.at.edge.Stats().Viewers["live"])
				})
			})
		}
	}
}

// Nor does it matter that a publisher of pictures alone goes on reporting on its clock
// while it is silent (str0m PR 624, libjitsi PR 181, livekit PR 2757: phones that mute,
// and pages that are shared and do not change).
func TestSilentPublishersThatReport(t *testing.T) {
	for _, place := range someOf(slices.Sorted(maps.Keys(places))) {
		for _, lasts := range someOf([]time.Duration{14 * time.Second, 30 * time.Second, 2 * time.Minute}) {
			t.Run(fmt.Sprint(place, " ", lasts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testSilentReports(t, place, lasts) })
			})
		}
	}
}

func testSilentReports(t *testing.T, place string, lasts time.Duration) {
	w := newWorld(t)
	path := cdntest.Path{Delay: ms(5)}
	o := w.origin("origin", path, origin.Config{})
	at, _ := places[place](w, o)
	video := videoTrack(webrtc.MimeTypeVP8)
	p, err := rawPublish(t, w, o, "live", w.network.Host("publisher", path), nil, nil, video)
	require.NoError(t, err)
	begun, n := time.Now(), 0
	clock := func() uint32 { return uint32(time.Since(begun).Seconds() * 90000) }
	send := func(pictures int) {
		for range pictures {
			_ = video.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: clock(), Marker: true}, vp8Picture(n%30 == 0, n))
			n++
			time.Sleep(time.Second / 30)
		}
	}
	send(20)
	v, err := rawView(t, w, at, "live", w.network.Host("viewer", path), nil, nil, webrtc.RTPCodecTypeVideo)
	require.NoError(t, err)
	send(70)

	for silent := time.Now(); time.Since(silent) < lasts; time.Sleep(time.Second) {
		p.report(video, ntpOf(time.Now()), clock())
	}
	select {
	case <-v.ended:
		t.Fatal("the viewer's session has ended")
	default:
	}
	require.Equal(t, 1, at.edge.Stats().Viewers["live"])
	before := len(v.packets("video"))
	require.Greater(t, before, 60)

	resumed := time.Now()
	send(60)
	got := v.packets("video")
	require.Greater(t, len(got), before+50)
	require.Less(t, got[before].at.Sub(resumed), ms(500))
	for i := 1; i < len(got); i++ {
		require.Equal(t, got[i-1].h.SequenceNumber+1, got[i].h.SequenceNumber, "packet %d", i)
	}
}

// Who joins meanwhile is connected, sees the picture that stands still, and what
// comes next, at a node that has the stream and at one that has yet to fetch it.
func TestJoiningWhileThePublisherIsSilent(t *testing.T) {
	for _, place := range someOf(slices.Sorted(maps.Keys(places))) {
		for _, after := range someOf([]time.Duration{ms(300), 2 * time.Second, 30 * time.Second, 5 * time.Minute}) {
			for _, cold := range []bool{false, true} {
				t.Run(fmt.Sprint(place, " ", after, " cold ", cold), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newPause(t, place)
						if cold {
							require.NoError(t, s.viewer.Close())
							time.Sleep(20 * time.Second) // nobody has the stream but the origin
						}
						s.publisher.Pause()
						time.Sleep(after)
						v := s.join("late")
						require.NoError(t, v.WaitConnected(s.within(5*time.Second)))
						time.Sleep(2 * time.Second)
						log := s.publisher.Report().Video[0].Log
						r := v.Report().Video()
						require.True(t, r.BeganWithKeyframe)
						require.Equal(t, log[len(log)-1].Number, r.Frames[len(r.Frames)-1].Number, "the last picture before the pause")
						time.Sleep(20 * time.Second)
						s.resume(v)
					})
				})
			}
		}
	}
}

// What dies meanwhile is noticed as if media flowed: a node that is dead is left, one
// that has lost its own upstream is left, and where the publisher is dead the viewer
// learns it.
func TestDeathsWhileThePublisherIsSilent(t *testing.T) {
	needLinks(t)
	t.Run("a node", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newPause(t, "two relays")
			s.publisher.Pause()
			time.Sleep(20 * time.Second)
			s.kill(s.between[0])
			time.Sleep(ms(800))
			require.Equal(t, s.between[1].url(), s.at.relay.Stats()[0].URL)
			s.publisher.Resume()
			time.Sleep(time.Second)
			s.resume(s.viewer)
		})
	})
	t.Run("the way to a node's own upstream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newPause(t, "two relays")
			s.publisher.Pause()
			time.Sleep(20 * time.Second)
			s.network.Between(s.origin.host, s.between[0].host, cdntest.Path{Loss: 1})
			time.Sleep(4 * time.Second)
			require.Equal(t, s.between[1].url(), s.at.relay.Stats()[0].URL)
			s.resume(s.viewer)
		})
	})
	t.Run("the publisher", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newPause(t, "three hops")
			there := s.view(s.origin, "live", "at the origin", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
			s.publisher.Pause()
			time.Sleep(time.Minute)
			s.publisher.Kill()
			<-there.Done()
			begun := time.Now()
			<-s.viewer.Done()
			require.Less(t, time.Since(begun), 15*time.Second, "the relays look for it elsewhere for so long, since the origin lost it")
		})
	})
	t.Run("the origin", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newPause(t, "three hops")
			s.publisher.Pause()
			time.Sleep(time.Minute)
			s.kill(s.origin)
			begun := time.Now()
			<-s.viewer.Done()
			require.InDelta(t, 15, time.Since(begun).Seconds(), 8)
		})
	})
}
