package pionnet

import (
	"net"
	"net/netip"
	"testing"

	"github.com/pion/transport/v5"
	"github.com/stretchr/testify/require"
)

// A fake is a network of the loopback address and others, whose sockets are
// [net.PacketConn]s alone unless they are to be more.
type fake struct {
	addrs []string
	more  bool
	asked []netip.AddrPort
}

func (f *fake) ListenUDP(at netip.AddrPort) (net.PacketConn, error) {
	f.asked = append(f.asked, at)
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil || f.more {
		return c, err
	}
	return struct{ net.PacketConn }{c}, nil
}

func (f *fake) Addrs() (all []netip.Addr, err error) {
	for _, a := range f.addrs {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

func TestListenAsksForTheAddress(t *testing.T) {
	for _, tc := range []struct {
		kind string
		at   *net.UDPAddr
		want netip.AddrPort
	}{
		{"udp", nil, netip.AddrPort{}},
		{"udp4", nil, netip.MustParseAddrPort("0.0.0.0:0")},
		{"udp6", &net.UDPAddr{Port: 7}, netip.MustParseAddrPort("[::]:7")},
		{"udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}, netip.MustParseAddrPort("192.0.2.1:7")},
		{"udp6", &net.UDPAddr{IP: net.ParseIP("2001:db8::1")}, netip.MustParseAddrPort("[2001:db8::1]:0")},
	} {
		f := &fake{}
		c, err := New(f).ListenUDP(tc.kind, tc.at)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.Equal(t, []netip.AddrPort{tc.want}, f.asked)
	}
	f := &fake{}
	_, err := New(f).ListenUDP("unix", nil)
	require.ErrorIs(t, err, transport.ErrNotSupported)
	_, err = New(f).ListenTCP("tcp", nil)
	require.ErrorIs(t, err, transport.ErrNotSupported)
	require.Empty(t, f.asked)
}

func TestSockets(t *testing.T) {
	n := New(&fake{more: true})
	more, err := n.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.IsType(t, &net.UDPConn{}, more, "what has all the methods stays as it is")
	defer func() { require.NoError(t, more.Close()) }()
	c, err := New(&fake{}).ListenUDP("udp4", nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = c.WriteToUDP([]byte("hello"), more.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	buf := make([]byte, 10)
	read, from, err := more.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "hello", string(buf[:read]))
	_, err = more.WriteTo([]byte("you"), from)
	require.NoError(t, err)
	read, udp, err := c.ReadFromUDP(buf)
	require.NoError(t, err)
	require.Equal(t, "you", string(buf[:read]))
	require.Equal(t, more.LocalAddr().String(), udp.String())
	_, err = c.Write([]byte("to whom?"))
	require.Error(t, err)
}

func TestInterfaces(t *testing.T) {
	for _, tc := range []struct {
		addrs []string
		want  map[string]int // how many addresses of each interface
	}{
		{nil, map[string]int{}},
		{[]string{"127.0.0.1", "::1"}, map[string]int{"lo": 2}},
		{[]string{"192.0.2.1", "2001:db8::1", "127.0.0.1", "fe80::1%eth0"}, map[string]int{"lo": 1, "net": 3}},
	} {
		n := New(&fake{addrs: tc.addrs})
		all, err := n.Interfaces()
		require.NoError(t, err)
		got := map[string]int{}
		for _, i := range all {
			addrs, err := i.Addrs()
			require.NoError(t, err)
			got[i.Name] = len(addrs)
			require.Equal(t, i.Name == "lo", i.Flags&net.FlagLoopback != 0)
			byName, err := n.InterfaceByName(i.Name)
			require.NoError(t, err)
			byIndex, err := n.InterfaceByIndex(byName.Index)
			require.NoError(t, err)
			require.Equal(t, i, byIndex)
		}
		require.Equal(t, tc.want, got)
	}
	_, err := New(&fake{}).InterfaceByName("eth0")
	require.ErrorIs(t, err, transport.ErrInterfaceNotFound)
}
