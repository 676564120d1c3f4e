package nearby_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/route/nearby"
)

// A world is nodes that announce themselves.
type world struct {
	*testing.T
	network *cdntest.Network
	dir     *breakable
	probes  atomic.Int64 // STUN Binding requests that were sent
}

// A breakable directory can be away.
type breakable struct {
	*cdn.Memory
	away atomic.Bool
}

func (b *breakable) Nodes(ctx context.Context) ([]cdn.NodeEntry, error) {
	if b.away.Load() {
		return nil, errors.New("the engine is away")
	}
	return b.Memory.Nodes(ctx)
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, network: cdntest.NewNetwork(t, cdntest.NetworkConfig{}), dir: &breakable{Memory: cdn.NewMemory()}}
	w.network.SetFilter(func(_, _ netip.AddrPort, payload []byte) bool {
		if len(payload) > 20 && payload[0] == 0 && payload[1] == 1 {
			w.probes.Add(1)
		}
		return true
	})
	return w
}

func (w *world) node(name string, roles cdn.Roles, oneWay time.Duration) *cdn.Node {
	host := w.network.Host(name, cdntest.Path{Delay: oneWay})
	n, err := cdn.Listen(cdn.Config{
		ID: cdn.NodeID(name), URL: "https://" + name, Net: host.Net(), Directory: w.dir,
		Addr: netip.AddrPortFrom(host.IP(), 7000).String(),
	})
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, n.Close()) })
	n.Serve(roles)
	return n
}

func TestMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.node("o1", cdn.RoleOrigin, 30*time.Millisecond)
		w.node("o2", cdn.RoleOrigin, 5*time.Millisecond)
		w.node("r1", cdn.RoleRelay, 2*time.Millisecond)
		me := w.node("me", cdn.RoleRelay, time.Millisecond)
		time.Sleep(time.Second)
		m, err := nearby.Of(me, w.dir)
		require.NoError(t, err)
		again, err := nearby.Of(me, w.dir)
		require.NoError(t, err)
		require.Same(t, m, again)

		begun := time.Now()
		m.AwaitMeasured(t.Context(), func(nodes []cdn.NodeEntry) []cdn.NodeID { return []cdn.NodeID{"o1", "o2", "r1"} })
		require.Equal(t, 62*time.Millisecond, time.Since(begun), "one round trip to the farthest")
		for id, want := range map[cdn.NodeID]time.Duration{"o1": 62 * time.Millisecond, "o2": 12 * time.Millisecond, "r1": 6 * time.Millisecond} {
			rtt, ok := m.RTT(id)
			require.True(t, ok)
			require.Equal(t, want, rtt)
		}
		_, ok := m.RTT("me")
		require.False(t, ok)
		_, ok = m.Distance("nobody")
		require.False(t, ok)
		require.Equal(t, []cdn.OriginLatency{{Origin: "o2", Latency: 6 * time.Millisecond}, {Origin: "o1", Latency: 31 * time.Millisecond}}, m.Origins())
		time.Sleep(time.Second)
		nodes, err := w.dir.Nodes(t.Context())
		require.NoError(t, err)
		i := slices.IndexFunc(nodes, func(n cdn.NodeEntry) bool { return n.Node == "me" })
		require.Equal(t, m.Origins(), nodes[i].Origins, "it is announced")

		w.dir.away.Store(true)
		time.Sleep(time.Minute)
		require.Len(t, m.Nodes(), 3, "what the directory said last")
		w.dir.away.Store(false)
		require.NoError(t, w.dir.RemoveNode(t.Context(), "r1"))
		time.Sleep(4 * time.Second) // it announces itself again each 5 s
		w.network.Host("o2", cdntest.Path{}).SetPath(cdntest.Path{Delay: 20 * time.Millisecond})
		time.Sleep(40 * time.Second)
		d, _ := m.Distance("o2")
		require.Equal(t, 21*time.Millisecond, d, "a way that has become longer")
	})
}

// Of a hundred nodes the nearest are measured often and the others seldom, and those
// that do not answer ever more seldom.
func TestProbesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 100 {
			w.node(fmt.Sprintf("n%d", i), cdn.RoleRelay, time.Duration(i+1)*time.Millisecond)
		}
		for i := range 10 {
			w.network.Host(fmt.Sprintf("n%d", i), cdntest.Path{}).Cut()
		}
		me := w.node("me", cdn.RoleRelay, time.Millisecond)
		synctest.Wait() // they are in the directory
		m, err := nearby.Of(me, w.dir)
		require.NoError(t, err)
		time.Sleep(4 * time.Second) // of one whose probe is lost, after two
		for i := 10; i < 100; i++ {
			_, ok := m.RTT(cdn.NodeID(fmt.Sprintf("n%d", i)))
			require.True(t, ok, i)
		}
		time.Sleep(time.Minute)
		before := w.probes.Load()
		time.Sleep(2 * time.Minute)
		perSecond := float64(w.probes.Load()-before) / 120
		require.Less(t, perSecond, 5.0, "some 50 bytes each")
		require.Greater(t, perSecond, 1.5)
	})
}

// Nobody waits for who does not answer.
func TestAwaitMeasuredEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.node("there", cdn.RoleRelay, time.Millisecond)
		w.node("gone", cdn.RoleRelay, time.Millisecond)
		w.network.Host("gone", cdntest.Path{}).Cut()
		me := w.node("me", cdn.RoleRelay, time.Millisecond)
		synctest.Wait() // they are in the directory
		m, err := nearby.Of(me, w.dir)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		begun := time.Now()
		m.AwaitMeasured(ctx, func([]cdn.NodeEntry) []cdn.NodeID { return []cdn.NodeID{"there", "gone"} })
		require.Equal(t, 150*time.Millisecond, time.Since(begun))
		time.Sleep(5 * time.Second)
		begun = time.Now()
		m.AwaitMeasured(t.Context(), func([]cdn.NodeEntry) []cdn.NodeID { return []cdn.NodeID{"there", "gone"} })
		require.Zero(t, time.Since(begun), "it has been given up")
	})
}
