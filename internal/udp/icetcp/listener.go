// Package icetcp lets clients in by TCP whose UDP does not get through: it is the
// passive side of ICE-TCP (RFC 6544), with each packet framed by its length
// (RFC 4571). To those above it, a client is an address that packets come from and
// go to, like a UDP client's but marked ([Address]). The package does not know what
// the packets are, nor whose: that is said by claiming an address.
package icetcp

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/internal/endpoint/halfopen"
	"github.com/deltacdn/delta/internal/udp/socket"
)

const (
	// claimedWithin is how long a connection may stay that nobody has claimed.
	claimedWithin = 5 * time.Second
	// maxHalfOpen bounds the connections that nobody has claimed. In a flood, the
	// oldest of the busiest source gives way.
	maxHalfOpen = 256
	// acceptAgain is how long it takes until the next attempt after the system could
	// not accept a connection, having no more file descriptors, for instance.
	acceptAgain = 50 * time.Millisecond
)

// A Receiver takes packets that were read together from one client, and reports
// whether one of them was for somebody. It must not block, may write over the
// packets, and must not keep them. It is called by several goroutines at once.
type Receiver func(packets []socket.Datagram) (known bool)

// Stats is a snapshot. What ends in a reason counts connections that were closed
// for it; the counters never fall.
type Stats struct {
	Clients  int // connections that sessions use
	HalfOpen int // connections that nobody has claimed yet
	Waiting  int // bytes that wait for clients

	Accepted  uint64 // connections
	Evicted   uint64 // for newer ones, before anybody claimed them
	Silent    uint64 // nobody claimed them in time
	Unknown   uint64 // what came first was for nobody
	Malformed uint64 // a packet was too long
	Stalled   uint64 // the client took nothing for 10 s

	Full uint64 // packets that were dropped, as too many bytes waited
	Late uint64 // packets that were dropped, as they had waited for too long
	Gone uint64 // packets for clients that are not there any more
}

type counters struct {
	accepted, evicted, silent, unknown, malformed, stalled, full, late, gone atomic.Uint64
}

// A Listener has the connections of all TCP clients. Its methods may be called
// concurrently; on a nil Listener, those that packages of this project call on the
// way of a packet do nothing.
type Listener struct {
	listener net.Listener // static
	receiver Receiver     // static
	count    counters
	closing  chan struct{}
	work     sync.WaitGroup // of all goroutines

	mu       sync.RWMutex
	clients  map[netip.AddrPort]*client
	halfOpen map[*client]struct{}
	closed   bool
}

// Listen accepts connections from l, which it owns, and gives what comes to receiver.
func Listen(l net.Listener, receiver Receiver) *Listener {
	s := &Listener{
		listener: l, receiver: receiver, closing: make(chan struct{}),
		clients: make(map[netip.AddrPort]*client), halfOpen: make(map[*client]struct{}),
	}
	s.work.Go(s.accept)
	return s
}

// Addr returns the address that clients connect to.
func (l *Listener) Addr() net.Addr { return l.listener.Addr() }

func (l *Listener) accept() {
	for {
		conn, err := l.listener.Accept()
		switch {
		case err == nil:
			l.add(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			select {
			case <-l.closing:
				return
			case <-time.After(acceptAgain):
			}
		}
	}
}

// add takes a connection, half open.
func (l *Listener) add(conn net.Conn) {
	at, ok := remote(conn)
	if !ok {
		_ = conn.Close()
		return
	}
	tune(conn)
	now := time.Now()
	_ = conn.SetReadDeadline(now.Add(claimedWithin))
	c := &client{listener: l, conn: conn, at: Address(at), slot: halfopen.Slot{From: halfopen.Source(at.String()), Since: now}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.clients[c.at] != nil {
		_ = conn.Close()
		return
	}
	l.count.accepted.Add(1)
	if len(l.halfOpen) >= maxHalfOpen {
		l.evictLocked(c.slot)
	}
	l.clients[c.at] = c
	l.halfOpen[c] = struct{}{}
	l.work.Go(c.read)
}

// evictLocked closes the half-open connection that gives way to a newcomer.
func (l *Listener) evictLocked(newcomer halfopen.Slot) {
	oldest, ok := halfopen.Oldest(maps.Keys(l.halfOpen), func(c *client) halfopen.Slot { return c.slot }, newcomer)
	if ok {
		l.count.evicted.Add(1)
		delete(l.halfOpen, oldest)
		_ = oldest.conn.Close() // its reader does the rest
	}
}

// receive hands on what a client has sent. It is false if the client is to go: what
// it sends is for nobody, and nobody has claimed it.
func (l *Listener) receive(c *client, packets []socket.Datagram) bool {
	if l.receiver(packets) {
		return true
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return c.claimed
}

// forget is the end of a connection.
func (l *Listener) forget(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.halfOpen, c)
	if l.clients[c.at] == c {
		delete(l.clients, c.at)
	}
}

func (l *Listener) client(at netip.AddrPort) *client {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.clients[at]
}

// Claim keeps the connection of a client, whose packets are somebody's, until it is
// dropped.
func (l *Listener) Claim(at netip.AddrPort) {
	if l == nil || !Is(at) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[at]; c != nil && !c.claimed && !l.closed {
		c.claimed = true
		delete(l.halfOpen, c)
		_ = c.conn.SetReadDeadline(time.Time{})
	}
}

// Drop closes the connection of a client once what waits for it is written. It does
// not wait.
func (l *Listener) Drop(at netip.AddrPort) {
	if l == nil || !Is(at) {
		return
	}
	if c := l.client(at); c != nil {
		c.end()
	}
}

// Send sends a packet to a client; it does not wait. What there is no room for is
// dropped, and counted.
func (l *Listener) Send(packet []byte, to netip.AddrPort) {
	if l == nil {
		return
	}
	c := l.client(to)
	switch {
	case c == nil:
		l.count.gone.Add(1)
	case !c.send(packet):
		l.count.full.Add(1)
	}
}

// HasRoom reports whether media may be sent to a client: little waits for it, or it
// is not there and what is sent is lost.
func (l *Listener) HasRoom(to netip.AddrPort) bool {
	if l == nil {
		return true
	}
	c := l.client(to)
	return c == nil || c.hasRoom()
}

// Stats returns a snapshot.
func (l *Listener) Stats() Stats {
	n := &l.count
	s := Stats{
		Accepted: n.accepted.Load(), Evicted: n.evicted.Load(), Silent: n.silent.Load(), Unknown: n.unknown.Load(),
		Malformed: n.malformed.Load(), Stalled: n.stalled.Load(), Full: n.full.Load(), Late: n.late.Load(), Gone: n.gone.Load(),
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	s.HalfOpen = len(l.halfOpen)
	s.Clients = len(l.clients) - s.HalfOpen
	for _, c := range l.clients {
		s.Waiting += c.waiting()
	}
	return s
}

// Close closes the port and all connections, each once what waits for it is written
// (which takes a second at most), and waits for all goroutines.
func (l *Listener) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.work.Wait()
		return net.ErrClosed
	}
	l.closed = true
	close(l.closing)
	clients := maps.Clone(l.clients)
	l.mu.Unlock()
	err := l.listener.Close()
	for _, c := range clients {
		c.end()
	}
	l.work.Wait()
	return err
}
