package main

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/deltacdn/delta/cdn"
)

// A faultNet is all that connects a node with others, except its web server: its
// sockets for media and its HTTP client. Cutting it closes them, so that nothing leaves any
// more, not even a goodbye, and the ports are free: that is what others see of a
// crash. The sockets are those of the system's network as they are, so the node
// reads and writes them as if there were no faultNet.
type faultNet struct {
	cdn.Network
	http *http.Transport

	mu          sync.Mutex
	isCut       bool
	connections map[io.Closer]struct{} // sockets, listeners and connections that are open
}

func newFaultNet(client *http.Transport) *faultNet {
	return &faultNet{Network: cdn.SystemNetwork(), http: client, connections: make(map[io.Closer]struct{})}
}

// ListenUDP opens a socket that cut closes.
func (f *faultNet) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	conn, err := f.Network.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	return conn, f.hold(conn)
}

// RoundTrip makes the node's requests.
func (f *faultNet) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.wasCut() {
		return nil, net.ErrClosed
	}
	return f.http.RoundTrip(r)
}

func (f *faultNet) cut() {
	f.mu.Lock()
	f.isCut = true
	connections := f.connections
	f.connections = nil
	f.mu.Unlock()
	for c := range connections {
		_ = c.Close()
	}
	f.http.CloseIdleConnections()
}

func (f *faultNet) wasCut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isCut
}
