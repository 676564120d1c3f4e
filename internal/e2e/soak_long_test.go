//go:build long

package delta_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// An hour of virtual time through a chain with losses on every hop: sequence
// numbers wrap several times, and neither latency nor memory grows.
func TestSoakAnHourOfLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := cdntest.Path{Delay: ms(15), Jitter: ms(10), Loss: 0.01}
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		r := w.relay("relay", cdntest.Path{}, o)
		e := w.edge("edge", cdntest.Path{}, edge.Config{}, r)
		w.network.Between(o.host, r.host, bad)
		w.network.Between(r.host, e.host, bad)
		p := w.publish(o, "live", bad, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(20*time.Second)))
		for hour := range 6 {
			v, err := cdntest.NewViewer(t.Context(), cdntest.ViewerConfig{
				Net: w.network.Host("viewer", cdntest.Path{}).Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live",
			}) // not w.view, which keeps each viewer until the test ends
			require.NoError(t, err)
			require.NoError(t, v.WaitFrames(t.Context(), 18000))
			video := v.Report().Video()
			require.Zero(t, video.FaultCount, video.Faults)
			t.Logf("%d0 min: %d packets, p50 %v, p99 %v, p99.9 %v, worst %v, whole within a second %.4f; heap %d KiB, %d goroutines",
				hour+1, video.Packets, video.Latency(0.5), video.Latency(0.99), video.Latency(0.999), video.Latency(1),
				video.WholeWithin(time.Second), heapInUse()>>10, runtime.NumGoroutine())
			require.Greater(t, video.WholeWithin(time.Second), 0.999)
			require.NoError(t, v.Close())
		}
	})
}

// Ten thousand joins and leaves.
func TestSoakJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(2)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 100_000, FPS: 10}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		for round := range 100 {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					v, err := cdntest.NewViewer(t.Context(), cdntest.ViewerConfig{
						Net: w.network.Host("viewers", path).Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live",
					})
					if err != nil {
						t.Error(err)
						return
					}
					if err := v.WaitFrames(t.Context(), 3); err != nil {
						t.Error(err)
					}
					_ = v.Close()
				})
			}
			wg.Wait()
			if round%20 == 19 {
				t.Logf("%d joins: heap %d KiB, %d goroutines", 100*(round+1), heapInUse()>>10, runtime.NumGoroutine())
			}
		}
	})
}

// A hundred kills in some ten minutes of virtual time.
func TestSoakKills(t *testing.T) {
	needLinks(t)
	for seed := range uint64(3) {
		testKills(t, 100, seed+2)
	}
}

// Ten thousand subscriptions on one link.
func TestSoakSubscriptions(t *testing.T) {
	needLinks(t)
	testSubscriptions(t, 10000)
}

// A thousand viewers at once.
func TestSoakFlashCrowd(t *testing.T) { testFlashCrowd(t, 1000) }

// The gap of a failover at two hundred moments.
func TestSoakFailover(t *testing.T) {
	needLinks(t)
	testFailovers(t, 200)
}

// A hundred minutes of a publisher without sender reports, whose sound card and camera drift
// apart by 1,000 ppm, three hops away: sound and picture stay together.
func TestSoakClocks(t *testing.T) {
	for _, ppm := range []float64{1000, -1000} {
		synctest.Test(t, func(t *testing.T) {
			s := newStudio(t)
			s.ppm, s.jitter = ppm, ms(50)
			worst := time.Duration(0)
			s.play(100*time.Minute, func(step int, after time.Duration) {
				if step < 60 || step%100 != 0 {
					return
				}
				worst = max(worst, s.apart().Abs())
				require.LessOrEqual(t, worst, ms(100), "after %v", after)
				s.viewer.forget()
			})
			t.Logf("at most %v apart", worst)
		})
	}
}
