package delta_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// However many viewers come at once, one fetch runs, and the publisher is asked
// for one keyframe a window.
func TestFlashCrowd(t *testing.T) { testFlashCrowd(t, fewer(200)) }

func testFlashCrowd(t *testing.T, viewers int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{
			Video: &cdntest.Video{Bitrate: 200_000, KeyframeInterval: time.Hour},
		})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(3 * time.Second) // the first keyframe is old by now

		begun := time.Now()
		var wg sync.WaitGroup
		all := make([]*cdntest.Viewer, viewers)
		for i := range all {
			wg.Go(func() {
				var err error
				all[i], err = cdntest.NewViewer(w.within(20*time.Second), cdntest.ViewerConfig{
					Net: w.network.Host("viewers", path).Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live",
				})
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { _ = all[i].Close() })
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for _, v := range all {
			require.NoError(t, v.WaitFrames(w.within(20*time.Second), 10))
			r := v.Report()
			require.True(t, r.Video().BeganWithKeyframe)
			require.Zero(t, r.Video().FaultCount)
		}
		windows := int(time.Since(begun)/(500*time.Millisecond)) + 1
		require.LessOrEqual(t, p.Report().Video[0].KeyframeRequests(), windows)
		fetches := 0
		for len(w.events) > 0 {
			if s, ok := (<-w.events).(cdn.SessionStarted); ok && s.Action == cdn.ActionFetch {
				fetches++
			}
		}
		require.Equal(t, 1, fetches)
	})
}

// Ten streams over one hop: sessions between the same two nodes do not get in
// each other's way.
func TestManyStreamsOverOneHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 10
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		var all []*cdntest.Viewer
		for i := range streams {
			id := cdn.StreamID(fmt.Sprintf("live/%d", i))
			p := w.publish(o, id, path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 200_000}})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
			all = append(all, w.view(e, id, "viewers", path, cdntest.ViewerConfig{}))
		}
		for _, v := range all {
			require.NoError(t, v.WaitFrames(w.within(20*time.Second), 30))
			require.Zero(t, v.Report().Video().FaultCount)
			require.Zero(t, v.Report().Video().Missing)
		}
	})
}

// Viewers that come and go leave nothing behind: a bubble of synctest fails on
// any goroutine, and the heap ends where it began.
func TestJoinsAndLeavesLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rounds, atOnce := 20, fewer(50)
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(1)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 100_000, FPS: 10}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		keep := w.view(e, "live", "stays", path, cdntest.ViewerConfig{})

		join := func() {
			var wg sync.WaitGroup
			for i := range atOnce {
				wg.Go(func() {
					v, err := cdntest.NewViewer(w.within(10*time.Second), cdntest.ViewerConfig{
						Net: w.network.Host("viewers", path).Net(), Dialer: w.dialer,
						URL: e.url() + "/whep/live", Stream: "live",
					})
					if err != nil {
						t.Error(err)
						return
					}
					if i%2 == 0 { // the others leave while they are joining
						if err := v.WaitFrames(w.within(10*time.Second), 1); err != nil {
							t.Error(err)
						}
					}
					_ = v.Close()
				})
			}
			wg.Wait()
			synctest.Wait()
		}
		join() // what is made once is made
		goroutines, heap := runtime.NumGoroutine(), heapInUse()
		for range rounds - 1 {
			join()
		}
		time.Sleep(30 * time.Second) // timers that were stopped are kept by the runtime until they are due
		// The test itself keeps a KiB or two a join; a session would be 15 or more.
		requireLeft(t, goroutines+5, heap+4<<20)
		st := e.Stats()
		require.Equal(t, 2, st.Sessions+len(st.Streams), "one viewer, one stream")
		require.NoError(t, keep.WaitFrames(w.within(5*time.Second), 50))
	})
}

// requireLeft waits until the process has no more than so many goroutines and bytes of
// heap. Others than the test's may just be ending: those of tests before it that had real
// sockets, and of attempts to connect.
func requireLeft(t *testing.T, goroutines int, heap uint64) {
	t.Helper()
	var g int
	var h uint64
	for range 60 {
		synctest.Wait()
		if g, h = runtime.NumGoroutine(), heapInUse(); g <= goroutines && h < heap {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("%d goroutines and %d bytes are left, want %d and %d at most", g, h, goroutines, heap)
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A whole CDN in one test costs little: the bound is on virtual time, and the
// wall's is printed.
func TestThreeNodesAreCheapToStart(t *testing.T) {
	begun := time.Now()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		e1 := w.edge("edge1", cdntest.Path{}, edge.Config{}, o)
		e2 := w.edge("edge2", cdntest.Path{}, edge.Config{}, o)
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(context.Background()))
		for _, e := range []*node{e1, e2} {
			v := w.view(e, "live", "at "+e.name, cdntest.Path{}, cdntest.ViewerConfig{})
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		}
	})
	t.Logf("three nodes, a publisher and two viewers took %v of real time", time.Since(begun))
}
