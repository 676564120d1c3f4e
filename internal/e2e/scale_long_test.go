//go:build long

package delta_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
)

// TestSoakScale prints what a network costs as it grows: what each node says and hears
// when nothing happens, what it keeps, and how long it takes until a stream is found.
// Signaling and control are real, media is thin, and time is virtual. The figures
// stand in docs/scale.md.
func TestSoakScale(t *testing.T) {
	t.Log("| nodes | streams | datagrams a second and node (media apart) | bit/s of them | directory: messages a second and node | bit/s told | KiB a node | goroutines a node | found after, p50 / p99 | depth |")
	for _, n := range []int{10, 30, 100} {
		synctest.Test(t, func(t *testing.T) { t.Log(scale(t, n)) })
	}
}

func scale(t *testing.T, n int) string {
	const streams = 10
	w := newWorld(t)
	dir := &counted{Memory: cdn.NewMemory(), bytes: map[cdn.NodeID]int{}}
	name := func(i int) string { return fmt.Sprintf("%c%03d", 'a'+3*i/n, i) }
	host := func(i int) *cdntest.Host { return w.network.Host(name(i), cdntest.Path{}) }
	for i := range n {
		for k := range i {
			d := acrossBorders
			if name(k)[0] == name(i)[0] {
				d = withinRegion
			}
			w.network.Between(host(k), host(i), cdntest.Path{Delay: d})
		}
	}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	var nodes []*node
	for i := range n {
		tune := func(c *cdn.Config) { c.Directory, c.URL = dir, "http://"+name(i) }
		var x *node
		if i == 0 {
			x = w.origin(name(i), cdntest.Path{}, origin.Config{}, tune)
		} else {
			x = w.node(name(i), cdntest.Path{}, tune)
			w.findBy(x, dir)
			if i%10 < 3 { // three of ten are relays
				w.serveNodes(x, x.relay)
			}
		}
		nodes = append(nodes, x)
	}
	time.Sleep(10 * time.Second)
	for s := range streams {
		p := w.publish(nodes[0], cdn.StreamID(fmt.Sprintf("s%d", s)), cdntest.Path{}, sparse())
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	}
	time.Sleep(time.Second)
	var found []time.Duration
	depth := 0
	for i, x := range nodes[1:] {
		for k := range 2 { // each node wants two of them
			id := cdn.StreamID(fmt.Sprintf("s%d", (2*i+k)%streams))
			begun := time.Now()
			sub, err := x.relay.Open(context.Background(), cdn.Request{Stream: id})
			require.NoError(t, err)
			defer sub.Close()
			require.NoError(t, sub.Stream().Ready(w.within(10*time.Second)))
			found = append(found, time.Since(begun))
			depth = max(depth, len(pathOf(x, id)))
		}
	}
	time.Sleep(30 * time.Second)
	var datagrams, octets atomic.Int64
	w.network.SetFilter(func(_, _ netip.AddrPort, payload []byte) bool {
		if len(payload) > 0 && (payload[0] < 64) { // STUN and DTLS (RFC 7983)
			datagrams.Add(1)
			octets.Add(int64(len(payload)))
		}
		return true
	})
	told := dir.told()
	puts := dir.puts.Load()
	const watched = time.Minute
	time.Sleep(watched)
	w.network.SetFilter(nil)
	runtime.GC()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	sum := 0
	for id, b := range dir.told() {
		sum += b - told[id]
	}
	each := func(x int64) float64 { return float64(x) / watched.Seconds() / float64(n) }
	slices.Sort(found)
	return fmt.Sprintf("| %d | %d | %.1f | %.0f | %.2f | %.0f | %.0f | %.0f | %v / %v | %d |", n, streams,
		each(datagrams.Load()), 8*each(octets.Load()), each(dir.puts.Load()-puts), 8*each(int64(sum)),
		float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/1024/float64(n),
		float64(runtime.NumGoroutine()-goroutines)/float64(n),
		found[len(found)/2].Round(time.Millisecond), found[len(found)*99/100].Round(time.Millisecond), depth)
}

// TestSoakRegions is TestRegions with more seeds.
func TestSoakRegions(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) { testRegions(t, 10, seed) })
	}
}

// TestSoakChurn is TestRelaysComeAndGo, a hundred times.
func TestSoakChurn(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) { testChurn(t, 100, seed) })
	}
}

// TestSoakRelaysAreFound is TestRelaysAreFound with two hundred streams.
func TestSoakRelaysAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { testRelaysAreFound(t, 200) })
}

// TestSoakDrain drains a relay with three edges and three hundred viewers, twice.
func TestSoakDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { testDrain(t, [3]time.Duration{ms(1), ms(1), ms(1)}, 100, "relay2") })
}
