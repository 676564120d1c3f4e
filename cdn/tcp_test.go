package cdn_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/freeport"
)

// Clients without UDP are told the same hosts, and the new ones when these change.
func TestTCPAddresses(t *testing.T) {
	network := tcpAddresses{cdn.SystemNetwork().(cdn.TCPNetwork), []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.2")}}
	node, err := cdn.Listen(cdn.Config{Net: network, TCPAddr: ":0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close()) }()
	port := node.TCPAddr().(*net.TCPAddr).Port
	require.NotZero(t, port)
	offered := func() (hosts []string) {
		for _, a := range node.Internal().PassiveTCP() {
			tcp := a.(*net.TCPAddr)
			require.Equal(t, port, tcp.Port)
			hosts = append(hosts, tcp.IP.String())
		}
		return hosts
	}
	require.Equal(t, []string{"192.0.2.2", "127.0.0.1", "::1"}, offered())
	require.NoError(t, node.SetPublicIPs([]netip.Addr{netip.MustParseAddr("198.51.100.7")}))
	require.Equal(t, []string{"198.51.100.7"}, offered())
	require.Equal(t, node.TCPAddr().String(), node.Stats().TCP.Addr)
}

type tcpAddresses struct {
	cdn.TCPNetwork
	all []netip.Addr
}

func (a tcpAddresses) Addrs() ([]netip.Addr, error) { return a.all, nil }

// A node that cannot have its TCP port does not begin, and keeps no other.
func TestTCPAddressThatCannotBe(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	addr := freeport.Addr(t)
	_, err = cdn.Listen(cdn.Config{Addr: addr, TCPAddr: taken.Addr().String()})
	require.Error(t, err)
	_, err = cdn.Listen(cdn.Config{Addr: addr, TCPAddr: "nonsense"})
	require.ErrorIs(t, err, cdn.ErrInvalid)
	_, err = cdn.Listen(cdn.Config{Addr: addr, TCPAddr: "127.0.0.1:0", Net: addresses{Network: cdn.SystemNetwork()}})
	require.ErrorIs(t, err, cdn.ErrInvalid, "a network without TCP")
	node, err := cdn.Listen(cdn.Config{Addr: addr})
	require.NoError(t, err)
	require.Nil(t, node.TCPAddr())
	require.Empty(t, node.Internal().PassiveTCP())
	require.NoError(t, node.Close())
}
