package main

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/deltacdn/delta/cdn"
)

// A cord is all that connects a node with others but its web server: its UDP
// sockets and its HTTP client. Once it is cut nothing goes out any more, no
// goodbye either, and the ports are free: so a node vanishes that has crashed.
// The sockets are the system's own, so that datagrams still come and leave in
// batches.
type cord struct {
	cdn.Network
	http *http.Transport

	mu      sync.Mutex
	cut     bool
	sockets []io.Closer
}

func newCord(client *http.Transport) *cord {
	return &cord{Network: cdn.SystemNetwork(), http: client}
}

// ListenUDP opens a socket that severing the cord closes.
func (c *cord) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	conn, err := c.Network.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	return conn, c.hold(conn)
}

func (c *cord) hold(socket io.Closer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = socket.Close()
		return net.ErrClosed
	}
	c.sockets = append(c.sockets, socket)
	return nil
}

// RoundTrip makes the node's requests.
func (c *cord) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if cut {
		return nil, net.ErrClosed
	}
	return c.http.RoundTrip(r)
}

func (c *cord) sever() {
	c.mu.Lock()
	c.cut = true
	sockets := c.sockets
	c.sockets = nil
	c.mu.Unlock()
	for _, s := range sockets {
		_ = s.Close()
	}
	c.http.CloseIdleConnections()
}

func (c *cord) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}
