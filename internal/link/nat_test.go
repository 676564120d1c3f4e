package link

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/service"
)

// A node whose packets come from an address that it could not name (NAT, a
// container's bridge) can dial a link.
func TestDialFromAnAddressNotNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		mk := func(name string, public []netip.Addr) *Links {
			host := network.Host(name, cdntest.Path{Delay: 5 * time.Millisecond})
			n, err := cdn.Listen(cdn.Config{
				ID: cdn.NodeID(name), Addr: netip.AddrPortFrom(host.IP(), 7000).String(), Net: host.Net(),
				PublicIPs: public, Trust: cdn.Trust{Secret: "s"},
			})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, n.Close()) })
			ls, err := service.Shared(n.Internal(), func() (*Links, error) { return New(n) })
			require.NoError(t, err)
			return ls
		}
		a := mk("one", []netip.Addr{netip.MustParseAddr("203.0.113.9")}) // what it names is not where it sends from
		b := mk("two", nil)
		l, err := a.to(cdn.Entry{URL: "two"}, wires{map[string]*Links{"two": b}, "198.51.100.1:9"})
		require.NoError(t, err)
		l.start()
		select {
		case <-l.up:
		case <-l.Done():
		}
		require.NoError(t, l.Err())
	})
}

// Two URLs of one node, dialled at one moment: one link comes of it.
func TestTwoURLsOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cdn.Trust{Secret: "s"}, cdn.Trust{Secret: "s"})
		w := wires{map[string]*Links{"two": b, "deux": b}, "192.0.2.7:1"}
		l1, err := a.to(cdn.Entry{URL: "two"}, w)
		require.NoError(t, err)
		l2, err := a.to(cdn.Entry{URL: "deux"}, w)
		require.NoError(t, err)
		l1.start()
		l2.start()
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_ = ctx
		time.Sleep(400 * time.Millisecond)
		t.Log("l1:", l1.isUp(), l1.Err(), "l2:", l2.isUp(), l2.Err(), time.Since(begun))
		for _, l := range []*Link{l1, l2} {
			if err := l.Err(); err != nil {
				require.ErrorIs(t, err, ErrMoved, "so that its fetches go over to the other one")
			}
		}
		require.Len(t, a.Stats(), 1)
		require.Len(t, b.Stats(), 1)
	})
}
