package delta_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/relay"
)

// Relays come, leave and are killed at random: no stream ever goes in a circle, all
// edges have it again soon, and viewers see short gaps at most.
func TestRelaysComeAndGo(t *testing.T) {
	needLinks(t)
	events := 25
	if raceEnabled {
		events = 6
	}
	synctest.Test(t, func(t *testing.T) { testChurn(t, events, 1) })
}

func testChurn(t *testing.T, events int, seed uint64) {
	w := newFoundWorld(t)
	r := rand.New(rand.NewPCG(seed, 0))
	o := w.originAt("origin", cdntest.Path{Delay: ms(1)})
	alive := map[string]*node{}
	started := 0
	start := func() {
		name := fmt.Sprintf("relay%d", started)
		started++
		alive[name] = w.relayAt(name, cdntest.Path{Delay: ms(1 + r.IntN(4))})
	}
	for range 3 {
		start()
	}
	var edges []*node
	for i := range 5 {
		edges = append(edges, w.edgeAt(fmt.Sprintf("edge%d", i), cdntest.Path{Delay: ms(1)}))
	}
	time.Sleep(6 * time.Second)
	p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 100_000}})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	var viewers []*cdntest.Viewer
	for i, e := range edges {
		v := w.view(e, "live", fmt.Sprintf("viewer %d", i), cdntest.Path{}, cdntest.ViewerConfig{Kinds: []cdn.Kind{cdn.Video}})
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 30))
		viewers = append(viewers, v)
	}
	pick := func() *node {
		var names []string
		for name := range alive {
			names = append(names, name)
		}
		slices.Sort(names)
		n := alive[names[r.IntN(len(names))]]
		delete(alive, n.name)
		return n
	}
	var gaps []time.Duration
	for range events {
		what := "a relay comes"
		begun := time.Now()
		lost := false
		switch k := r.IntN(3); {
		case k == 0 || len(alive) <= 1:
			start()
		case k == 1:
			n := pick()
			what = n.name + " is killed"
			lost = true
			w.kill(n)
		default:
			n := pick()
			what = n.name + " leaves"
			require.NoError(t, n.Drain(w.within(10*time.Second)))
			w.dialer.Handle(n.url()+relay.Prefix, nil)
			require.NoError(t, n.Close())
			n.Node = nil
		}
		time.Sleep(3*time.Second + time.Duration(r.IntN(4000))*time.Millisecond)
		for _, e := range edges {
			path := pathOf(e, "live")
			require.NotEmpty(t, path, "%s: %s has nothing", what, e.name)
			require.NotContains(t, path, e.ID(), what)
			require.Len(t, path, len(slices.Compact(slices.Sorted(slices.Values(path)))), "a circle: %v", path)
			require.LessOrEqual(t, len(path), 2, "%s: %v", what, path)
		}
		for _, v := range viewers {
			if d := gap(v.Report().Video(), begun); lost {
				gaps = append(gaps, d)
			} else {
				require.Less(t, d, ms(100), what)
			}
		}
	}
	for _, v := range viewers {
		require.NoError(t, v.Close())
		require.Zero(t, v.Report().Video().FaultCount, v.Report().Video().Faults)
	}
	slices.Sort(gaps)
	if len(gaps) > 0 {
		t.Logf("%d gaps after kills: median %v, p99 %v", len(gaps), gaps[len(gaps)/2], gaps[len(gaps)*99/100])
		require.LessOrEqual(t, gaps[len(gaps)*99/100], ms(800))
	}
}
