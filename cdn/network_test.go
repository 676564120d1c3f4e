package cdn_test

import (
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// A holder keeps the sockets of the system's network that it hands out.
type holder struct {
	cdn.Network
	held []*net.UDPConn
}

func (h *holder) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	c, err := h.Network.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	h.held = append(h.held, c.(*net.UDPConn))
	return c, nil
}

// A network of one's own whose sockets are the system's costs nothing of what the
// node can do with those, and whoever keeps a socket can close it.
func TestANetworkMayKeepTheSystemsSockets(t *testing.T) {
	system, err := cdn.Listen(cdn.Config{Addr: "localhost:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, system.Close()) }()
	h := &holder{Network: cdn.SystemNetwork()}
	n, err := cdn.Listen(cdn.Config{Addr: "localhost:0", Net: h})
	require.NoError(t, err)
	require.Len(t, h.held, 1)
	require.Equal(t, system.Stats().Egress.Mode, n.Stats().Egress.Mode)
	if runtime.GOOS == "linux" {
		require.NotEqual(t, "single", n.Stats().Egress.Mode)
	}
	at := n.Addr().(*net.UDPAddr)
	require.NoError(t, h.held[0].Close())
	again, err := net.ListenUDP("udp", at)
	require.NoError(t, err, "the port is free at once")
	require.NoError(t, again.Close())
	_ = n.Close() // of a socket that is closed already
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
