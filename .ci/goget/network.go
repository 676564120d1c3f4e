package main

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/deltacdn/delta/cdn"
)

// network is this program's network: the system's, with its sockets counted.
type network struct {
	cdn.Network
	sockets atomic.Int64
}

var _ cdn.Network = (*network)(nil)

func newNetwork() *network { return &network{Network: cdn.SystemNetwork()} }

// ListenUDP implements cdn.Network.
func (n *network) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	n.sockets.Add(1)
	return n.Network.ListenUDP(addr)
}
