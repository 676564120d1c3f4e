package delta_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// A fleet is two origins that a redundant publisher sends to, two relays behind
// both, and two edges behind both of these; nodes die and come back.
type fleet struct {
	*world
	rng   *rand.Rand
	nodes map[string]*node // those that can die
	pubs  map[string]*cdntest.Publisher
}

func (f *fleet) start(name string) {
	f.network.Host(name, cdntest.Path{}).Heal()
	path := cdntest.Path{Delay: ms(10)}
	switch name {
	case "o1", "o2":
		f.nodes[name] = f.origin(name, path, origin.Config{})
		p, err := cdntest.NewPublisher(f.within(10*time.Second), cdntest.PublisherConfig{
			Net: f.network.Host("publisher", cdntest.Path{}).Net(), Dialer: f.dialer, URL: "http://" + name + "/whip/live", Stream: "live",
			Publication: "show", Video: &cdntest.Video{Bitrate: 400_000},
		})
		require.NoError(f.t, err)
		f.pubs[name] = p
	default:
		f.nodes[name] = f.relayOf(name, path, "o1", "o2")
	}
}

func (f *fleet) relayOf(name string, path cdntest.Path, entries ...string) *node {
	n := f.node(name, path)
	f.fetchURLs(n, entries...)
	f.serveNodes(n, n.relay)
	return n
}

// fetchURLs has a node fetch from nodes that may not be there.
func (f *fleet) fetchURLs(n *node, entries ...string) {
	for i, e := range entries {
		entries[i] = "http://" + e
	}
	var err error
	n.relay, err = relay.New(n.Node, relay.Config{Directory: cdn.Static(entries...), Fetcher: f.fetcher(n)})
	require.NoError(f.t, err)
}

// die has a node vanish without a word, and then gives back what it had here.
func (f *fleet) die(name string) {
	n := f.nodes[name]
	f.kill(n)
	if p := f.pubs[name]; p != nil {
		p.Kill()
		delete(f.pubs, name)
	}
	require.NoError(f.t, n.Close())
	*n = node{} // so that nothing of it is held here
	delete(f.nodes, name)
}

func testKills(t *testing.T, kills int, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*node{}, pubs: map[string]*cdntest.Publisher{}}
		for _, name := range []string{"o1", "o2", "r1", "r2"} {
			f.start(name)
		}
		var viewers []*cdntest.Viewer
		for i := range 2 {
			e := f.node(fmt.Sprint("e", i), cdntest.Path{Delay: ms(10)})
			f.fetchURLs(e, "r1", "r2")
			f.serveViewers(e, e.relay, edge.Config{})
			for k := range 2 {
				viewers = append(viewers, f.view(e, "live", fmt.Sprint("viewer", i, k), cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{}))
			}
		}
		for _, v := range viewers {
			require.NoError(t, v.WaitFrames(f.within(10*time.Second), 30))
		}
		ssrcs := make([]uint32, len(viewers))
		for k, v := range viewers {
			ssrcs[k] = v.Report().Video().SSRC
		}
		const warm = 3
		var began time.Time
		var goroutines int
		var heap uint64
		for i := range kills {
			if i == warm {
				began, goroutines, heap = time.Now(), runtime.NumGoroutine(), heapInUse()
			}
			// Of either tier one is always left.
			name := []string{"o1", "o2", "r1", "r2"}[f.rng.IntN(4)]
			f.die(name)
			time.Sleep(3 * time.Second)
			for k, v := range viewers {
				select {
				case <-v.Done():
					t.Fatalf("viewer %d has lost its session after kill %d, of %s", k, i, name)
				default:
				}
				r := v.Report().Video()
				requireForward(t, r)
				require.Equal(t, ssrcs[k], r.SSRC)
				last := r.Frames[len(r.Frames)-1]
				require.Less(t, time.Since(last.Done), ms(200), "viewer %d plays after kill %d, of %s", k, i, name)
				require.True(t, last.Decodable)
				require.Less(t, last.Latency(), ms(300), "viewer %d, kill %d, of %s", k, i, name)
			}
			f.start(name)
			time.Sleep(time.Duration(1500+f.rng.IntN(3000)) * time.Millisecond)
		}
		// What viewers and publishers note of each frame stays.
		noted := uint64(time.Since(began).Seconds()+60) * 64 << 10
		t.Logf("after %d kills: %d goroutines and %d KiB; %v later %d and %d", warm, goroutines, heap>>10, time.Since(began), runtime.NumGoroutine(), heapInUse()>>10)
		requireLeft(t, goroutines+10, heap+noted+2<<20)
		for _, v := range viewers {
			require.NoError(t, v.Close())
		}
		for _, p := range f.pubs {
			p.Kill()
		}
	})
}

// Whichever origin or relay dies, every viewer plays on, as long as another of
// its tier is left. soak_long_test.go does it a hundred times.
func TestKills(t *testing.T) {
	needLinks(t)
	kills := 8
	if raceEnabled {
		kills = 5
	}
	testKills(t, kills, 1)
}
