package socket

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What is written of an address is what is read.
func TestAddresses(t *testing.T) {
	lo, err := net.InterfaceByIndex(1)
	require.NoError(t, err)
	for in, want := range map[string]string{
		"192.0.2.1:65535":               "192.0.2.1:65535",
		"[2001:db8::1]:1":               "[2001:db8::1]:1",
		"[::ffff:192.0.2.1]:80":         "192.0.2.1:80",
		"[fe80::1%" + lo.Name + "]:9":   "[fe80::1%" + lo.Name + "]:9",
		"[fe80::1%1]:9":                 "[fe80::1%" + lo.Name + "]:9",
		"[fe80::1%4000000000]:9":        "[fe80::1%4000000000]:9",
		"[fe80::1%no-such-interface]:5": "[fe80::1]:5",
	} {
		s := sockaddr{0: 0xff, atFlow: 0xff, atIPv6: 0xff, atScope: 0xff} // of the call before
		got, ok := s.get(s.put(netip.MustParseAddrPort(in)))
		require.True(t, ok, in)
		require.Equal(t, netip.MustParseAddrPort(want), got)
	}
	s := sockaddr{}
	for _, n := range []uint32{0, 2, unix.SizeofSockaddrInet4 - 1} {
		_, ok := s.get(n)
		require.False(t, ok)
	}
}
