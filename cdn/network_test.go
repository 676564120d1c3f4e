package cdn_test

import (
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/freeport"
)

// An ownNetwork is a network of one's own that wraps the system's sockets, and keeps
// them.
type ownNetwork struct {
	cdn.Network
	wrap func(net.PacketConn) net.PacketConn
	kept []net.PacketConn
}

func (n *ownNetwork) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	c, err := n.Network.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	n.kept = append(n.kept, c)
	return n.wrap(c), nil
}

func asItIs(c net.PacketConn) net.PacketConn { return c }

// A tap says what it stands in front of, and that it need not see the datagrams.
type tap struct{ net.PacketConn }

func (t tap) Underlying() net.PacketConn { return t.PacketConn }
func (tap) Intercepts() bool             { return false }

// A systemsOwn hands out sockets of the standard library.
type systemsOwn struct{ cdn.Network }

func (systemsOwn) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
}

type embedsUDPConn struct{ *net.UDPConn }

// A network of one's own whose sockets are the system's costs nothing of what the
// node can do with those, and whoever keeps a socket can close it.
func TestANetworkMayKeepTheSystemsSockets(t *testing.T) {
	system, err := cdn.Listen(cdn.Config{Addr: "localhost:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, system.Close()) }()
	best := system.Stats().Egress.Mode
	if runtime.GOOS == "linux" {
		require.NotEqual(t, "single", best)
	}
	for name, tc := range map[string]struct {
		network cdn.Network
		wrap    func(net.PacketConn) net.PacketConn
		mode    string
	}{
		"the system's":                  {cdn.SystemNetwork(), asItIs, best},
		"an interceptor in front":       {cdn.SystemNetwork(), func(c net.PacketConn) net.PacketConn { return tap{c} }, best},
		"the standard library's":        {systemsOwn{cdn.SystemNetwork()}, asItIs, best},
		"an interceptor in front of it": {systemsOwn{cdn.SystemNetwork()}, func(c net.PacketConn) net.PacketConn { return tap{c} }, best},
		"a wrapper":                     {cdn.SystemNetwork(), func(c net.PacketConn) net.PacketConn { return struct{ net.PacketConn }{c} }, "single"},
		"one that embeds a UDPConn": {systemsOwn{cdn.SystemNetwork()}, func(c net.PacketConn) net.PacketConn {
			return embedsUDPConn{c.(*net.UDPConn)}
		}, "single"},
	} {
		t.Run(name, func(t *testing.T) {
			own := &ownNetwork{Network: tc.network, wrap: tc.wrap}
			n, err := cdn.Listen(cdn.Config{Addr: freeport.Addr(t), Net: own})
			require.NoError(t, err)
			require.Len(t, own.kept, 1)
			require.Equal(t, tc.mode, n.Stats().Egress.Mode)
			at := n.Addr().(*net.UDPAddr)
			require.NoError(t, own.kept[0].Close())
			again, err := net.ListenUDP("udp", at)
			require.NoError(t, err, "the port is free at once")
			require.NoError(t, again.Close())
			_ = n.Close() // of a socket that is closed already
		})
	}
}

func TestSystemNetwork(t *testing.T) {
	network, ok := cdn.SystemNetwork().(cdn.TCPNetwork)
	require.True(t, ok)
	l, err := network.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	require.NoError(t, err)
	_, err = network.ListenTCP(l.Addr().(*net.TCPAddr).AddrPort())
	require.Error(t, err)
	require.NoError(t, l.Close())
	c, err := network.ListenUDP(netip.AddrPort{})
	require.NoError(t, err)
	at := c.LocalAddr().(*net.UDPAddr)
	require.True(t, at.IP.IsUnspecified())
	_, err = network.ListenUDP(at.AddrPort())
	require.Error(t, err, "the port is taken")
	require.NoError(t, c.Close())
	addrs, err := network.Addrs()
	require.NoError(t, err)
	require.Contains(t, addrs, netip.MustParseAddr("127.0.0.1"))
}

// An oddNetwork's sockets are no UDP sockets.
type oddNetwork struct{ cdn.Network }

func (oddNetwork) ListenUDP(netip.AddrPort) (net.PacketConn, error) {
	return oddConn{}, nil
}

type oddConn struct{ net.PacketConn }

func (oddConn) LocalAddr() net.Addr { return &net.UnixAddr{Name: "socket", Net: "unixgram"} }
func (oddConn) Close() error        { return nil }

func TestListenRefusesWhatIsNoUDPSocket(t *testing.T) {
	_, err := cdn.Listen(cdn.Config{Net: oddNetwork{cdn.SystemNetwork()}})
	require.ErrorIs(t, err, cdn.ErrInvalid)
	_, err = cdn.Listen(cdn.Config{Addr: "no port"})
	require.ErrorIs(t, err, cdn.ErrInvalid)
}
