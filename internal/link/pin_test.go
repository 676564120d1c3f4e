package link

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/service"
)

// With pins: one pinned node may not take another's name, and end its links, not even
// one that has been silent for a moment.
func TestPinnedNodeInAnothersName(t *testing.T) {
	for name, silent := range map[string]bool{"that answers": false, "that is silent for a second": true} {
		t.Run(name, func(t *testing.T) { testPinnedNodeInAnothersName(t, silent) })
	}
}

func testPinnedNodeInAnothersName(t *testing.T, silent bool) {
	ca := newAuthority(t)
	one, onePrint := ca.issue(t, "one")
	two, twoPrint := ca.issue(t, "two")
	three, threePrint := ca.issue(t, "three")
	synctest.Test(t, func(t *testing.T) {
		pins := []string{onePrint, twoPrint, threePrint}
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		hosts := map[string]*cdntest.Host{}
		mk := func(hostname, name string, trust cdn.Trust) *Links {
			host := network.Host(hostname, cdntest.Path{Delay: 5 * time.Millisecond})
			hosts[hostname] = host
			n, err := cdn.Listen(cdn.Config{ID: cdn.NodeID(name), Addr: netip.AddrPortFrom(host.IP(), 7000).String(), Net: host.Net(), Trust: trust})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, n.Close()) })
			ls, err := service.Shared(n.Internal(), func() (*Links, error) { return New(n) })
			require.NoError(t, err)
			return ls
		}
		a := mk("one", "one", cdn.Trust{Certificate: one, Pins: pins})
		b := mk("two", "two", cdn.Trust{Certificate: two, Pins: pins})
		imp := mk("three", "one", cdn.Trust{Certificate: three, Pins: pins}) // says that it is one
		l, err := a.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, "192.0.2.7:1"})
		require.NoError(t, err)
		l.start()
		<-l.up
		time.Sleep(time.Second)
		if silent {
			hosts["one"].Cut()
		}
		x, err := imp.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, "192.0.2.8:1"})
		require.NoError(t, err)
		x.start()
		time.Sleep(time.Second)
		hosts["one"].Heal()
		time.Sleep(2 * time.Second)
		require.Error(t, x.Err(), "the link of the one that is not it")
		require.NoError(t, l.Err(), "the link of the real one")
	})
}
