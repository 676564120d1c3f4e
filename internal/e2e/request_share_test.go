package delta_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A viewer that asks for keyframes without end has few of them made, at the origin
// and behind a hop; and what another one asks for, it gets at once.
func TestAViewersShareOfKeyframes(t *testing.T) {
	for _, hop := range []bool{false, true} {
		for _, fir := range []bool{false, true} {
			t.Run(fmt.Sprint("hop ", hop, " fir ", fir), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const rtt = 60 // from viewer to publisher, at most
					w := newWorld(t)
					path := cdntest.Path{Delay: ms(5)}
					o := w.origin("origin", path, origin.Config{})
					at := o
					if hop {
						at = w.edge("edge", path, edge.Config{}, o)
					}
					p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 200_000, KeyframeInterval: time.Minute}})
					require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
					hostile := w.view(at, "live", "hostile", path, cdntest.ViewerConfig{})
					other := w.view(at, "live", "other", path, cdntest.ViewerConfig{})
					for _, v := range []*cdntest.Viewer{hostile, other} {
						require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))
					}
					requests := func() int { l := p.Report().Video[0]; return l.PLIs + l.FIRs }
					ask := hostile.RequestKeyframe
					if fir {
						ask = hostile.RequestKeyframeFIR
					}
					before := requests()
					for range 3000 {
						require.NoError(t, ask())
						time.Sleep(ms(10))
					}
					made := requests() - before
					t.Logf("%d keyframes in 30 s", made)
					require.LessOrEqual(t, made, 5+10+1, "a burst of 5, and one each 3 s")

					for range 10 { // while that goes on
						for range 151 {
							require.NoError(t, ask())
							time.Sleep(ms(10))
						}
						asked := time.Now()
						require.NoError(t, other.RequestKeyframe())
						for range 60 {
							require.NoError(t, ask())
							time.Sleep(ms(10))
						}
						var took time.Duration
						for _, f := range other.Report().Video().Frames {
							if f.Key && f.Done.After(asked) && took == 0 {
								took = f.Done.Sub(asked)
							}
						}
						require.NotZero(t, took)
						require.Less(t, took, ms(500+rtt+34), "at once, or at the end of a window that the other one has begun")
					}
				})
			})
		}
	}
}

// A request that is lost between two nodes is sent again at once, and the publisher
// is asked no more often for that.
func TestRequestsThatAreLostBetweenNodes(t *testing.T) {
	needLinks(t)
	for _, loss := range someOf([]float64{0, 0.3}) {
		t.Run(fmt.Sprint(loss), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{})
				e := w.edge("edge", path, edge.Config{}, o)
				p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 100_000, KeyframeInterval: time.Hour}})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
				require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))
				w.network.Between(o.host, e.host, cdntest.Path{Delay: ms(5), Loss: loss})
				before, late := p.Report().Video[0].PLIs, 0
				const asks = 120
				for range asks {
					asked := time.Now()
					require.NoError(t, v.RequestKeyframe())
					time.Sleep(4 * time.Second)
					var took time.Duration
					for _, f := range p.Report().Video[0].Log {
						if f.Key && f.Sent.After(asked) && took == 0 {
							took = f.Sent.Sub(asked)
						}
					}
					if took > ms(200) {
						late++
					}
				}
				made := p.Report().Video[0].PLIs - before
				t.Logf("%d of %d late, the publisher was asked %d times", late, asks, made)
				require.LessOrEqual(t, late, asks/5)
				require.LessOrEqual(t, made, asks*5/4)
			})
		})
	}
}
