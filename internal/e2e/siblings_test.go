package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// Two relays that are each other's second entry lose the origin, one of them a
// little earlier. What is left of the stream goes round between them no more than
// once, and when the origin can be reached again all goes on.
func TestSiblingsWithoutAnOrigin(t *testing.T) {
	needLinks(t)
	for i := range 6 {
		synctest.Test(t, func(t *testing.T) { testSiblings(t, ms(300*i), ms(30*i)) })
	}
}

func testSiblings(t *testing.T, after, earlier time.Duration) {
	w := newWorld(t)
	o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{Grace: 30 * time.Second})
	a, b := w.node("a", cdntest.Path{Delay: ms(5)}), w.node("b", cdntest.Path{Delay: ms(5)})
	w.fetch(a, o, b)
	w.fetch(b, o, a)
	w.serveNodes(a, a.relay)
	w.serveNodes(b, b.relay)
	e := w.edge("edge", cdntest.Path{Delay: ms(5)}, edge.Config{}, a)
	w.serveViewers(b, b.relay, edge.Config{})
	p := w.publish(o, "live", cdntest.Path{Delay: ms(5)}, cdntest.PublisherConfig{Video: &cdntest.Video{KeyframeInterval: 2 * time.Second}})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	viewers := []*cdntest.Viewer{
		w.view(e, "live", "one", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{}),
		w.view(b, "live", "two", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{}),
	}
	for _, v := range viewers {
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 90))
	}
	time.Sleep(after)
	w.network.Between(o.host, b.host, cdntest.Path{Loss: 1})
	time.Sleep(earlier)
	w.kill(o)
	time.Sleep(8 * time.Second)
	var before []int
	for _, v := range viewers {
		r := v.Report().Video()
		seen := map[time.Time]int{}
		for _, f := range r.Frames {
			if seen[f.Sent]++; !f.Sent.IsZero() {
				require.LessOrEqual(t, seen[f.Sent], 2, "one picture, again and again")
			}
		}
		before = append(before, len(r.Frames))
	}
	w.network.Between(o.host, b.host, cdntest.Path{Delay: ms(5)})
	o.host.Heal()
	w.dialer.Handle(o.url()+relay.Prefix, o.server)
	for i, v := range viewers {
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), before[i]+60))
	}
}
