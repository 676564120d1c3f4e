package freeport_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/freeport"
)

// A port that is in use, by TCP or by UDP, is not chosen, and none is chosen twice.
func TestPortsAreFree(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		addr := freeport.Addr(t)
		require.False(t, seen[addr], addr)
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		defer l.Close()
		u, err := net.ListenPacket("udp", addr)
		require.NoError(t, err)
		defer u.Close()
		require.Less(t, l.Addr().(*net.TCPAddr).Port, 32768, "the system gives it to nobody else")
	}
	_, err := freeport.Find("192.0.2.1")
	require.Error(t, err, "an address of another machine")
}
