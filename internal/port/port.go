// Package port shares one UDP port between sessions of our own and pion's mux.
// A datagram is a session's if it comes from an address that the session has
// claimed, or is a STUN check for the session's ICE user name; all others are
// pion's, which reads them from the Port as if that were the socket. Since what
// comes from a publisher of pion's is not looked for in any list, an address may
// be claimed for all that comes from it only once it has proved itself.
package port

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is the socket. One with ReadFromUDPAddrPort and WriteToUDPAddrPort, as
// a [net.UDPConn], costs no allocation.
type Conn interface {
	net.PacketConn
}

type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// An Endpoint is a session of our own.
type Endpoint interface {
	// Receive takes a datagram. The port's one reader calls it: it must not
	// block, and keeps nothing of packet. It reports whether the datagram was
	// routine: that of a session which only shows that it lives.
	Receive(now time.Time, packet []byte, from netip.AddrPort) (routine bool)
}

// A Port is the shared socket: to pion it is a [net.PacketConn]. Its methods may
// be called concurrently, ReadFrom by one goroutine.
type Port struct {
	net.PacketConn // what is not changed below
	fast           addrPortConn
	ready          func() bool // whether a datagram waits; nil: that cannot be seen
	lull           lull        // the reader's own
	stirred        atomic.Bool // something begins that ends it

	mu     sync.RWMutex
	names  map[string]Endpoint // by our ICE user name fragment
	addrs  map[netip.AddrPort]Endpoint
	free   map[netip.AddrPort]Endpoint // by ClaimFree
	asked  map[[12]byte]Endpoint       // by the transaction id of a STUN request
	closed bool
}

// New shares conn, which the Port then owns.
func New(conn Conn) *Port {
	p := &Port{
		PacketConn: conn, names: make(map[string]Endpoint), asked: make(map[[12]byte]Endpoint),
		addrs: make(map[netip.AddrPort]Endpoint), free: make(map[netip.AddrPort]Endpoint),
	}
	p.fast, _ = conn.(addrPortConn)
	p.ready = ready(conn)
	return p
}

// ErrNameTaken says that an ICE user name fragment is in use.
var ErrNameTaken = errors.New("port: ICE user name fragment in use")

// Name gives e the STUN checks for an ICE user name fragment of ours.
func (p *Port) Name(ufrag string, e Endpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return net.ErrClosed
	case p.names[ufrag] != nil:
		return ErrNameTaken
	}
	p.names[ufrag] = e
	p.stirred.Store(true)
	return nil
}

// Stir says that an answer is expected which hurries.
func (p *Port) Stir() { p.stirred.Store(true) }

// Claim gives e what comes from addr, which must have proved itself by a check:
// the last to do so has it.
func (p *Port) Claim(addr netip.AddrPort, e Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.addrs[addr] = e
		if p.free[addr] == e {
			delete(p.free, addr)
		}
	}
}

// ClaimFree gives e the DTLS records that come from addr, unless another endpoint
// has the address, which need not have proved itself: somebody else's media may
// come from there.
func (p *Port) ClaimFree(addr netip.AddrPort, e Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.addrs[addr] == nil && p.free[addr] == nil {
		p.free[addr] = e
	}
}

// Expect gives e the answer to its STUN request with a transaction id, wherever
// that comes from, until Unexpect.
func (p *Port) Expect(id [12]byte, e Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.asked[id] = e
	}
}

// Unexpect takes back what Expect gave.
func (p *Port) Unexpect(e Endpoint, id [12]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked[id] == e {
		delete(p.asked, id)
	}
}

// Forget takes back what e has been given under these names and addresses.
func (p *Port) Forget(e Endpoint, ufrags []string, addrs []netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range ufrags {
		if p.names[u] == e {
			delete(p.names, u)
		}
	}
	for _, a := range addrs {
		if p.addrs[a] == e {
			delete(p.addrs, a)
		}
		if p.free[a] == e {
			delete(p.free, a)
		}
	}
}

// Send sends one datagram now, ahead of what is batched.
func (p *Port) Send(b []byte, to netip.AddrPort) error {
	var err error
	if p.fast != nil {
		_, err = p.fast.WriteToUDPAddrPort(b, to)
	} else {
		_, err = p.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	return err
}

// Close closes the socket.
func (p *Port) Close() error {
	p.mu.Lock()
	p.closed = true
	clear(p.names)
	clear(p.addrs)
	clear(p.free)
	clear(p.asked)
	p.mu.Unlock()
	return p.PacketConn.Close()
}

// maxFailures in a row, and reading is given up.
const maxFailures = 100

// ReadFrom is ReadFromAddrPort for those who want a [net.Addr].
func (p *Port) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToAddrPort is Send for pion's mux, which looks for it.
func (p *Port) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return len(b), p.Send(b, to)
}

// SetWriteDeadline does nothing: pion's mux sets a deadline to stop one write,
// which would stop those of all sessions. A datagram does not wait for long.
func (p *Port) SetWriteDeadline(time.Time) error { return nil }

// ReadFromAddrPort returns the next datagram that is nobody's of ours; the
// others are handed to their endpoints. An error that is about one datagram, as
// ICMP causes, is passed over: pion's mux would stop at it.
func (p *Port) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for failures := 0; ; {
		if p.stirred.Swap(false) {
			p.lull.note(time.Now(), false)
		}
		if p.lull.lasts && p.ready != nil && !p.ready() {
			time.Sleep(lullPause)
		}
		n, from, err := p.read(b)
		switch {
		case err == nil:
			failures = 0
		case p.isClosed() || errors.Is(err, net.ErrClosed):
			return 0, netip.AddrPort{}, err
		default:
			if failures++; failures == maxFailures {
				return 0, netip.AddrPort{}, err
			}
			continue
		}
		now := time.Now()
		e := p.endpoint(b[:n], from)
		if e == nil {
			if !isRoutine(b[:n]) {
				p.lull.note(now, false)
			}
			return n, from, nil
		}
		p.lull.note(now, e.Receive(now, b[:n], from))
	}
}

// read returns the source without the IPv4-in-IPv6 form of a dual-stack socket.
func (p *Port) read(b []byte) (n int, from netip.AddrPort, err error) {
	if p.fast != nil {
		n, from, err = p.fast.ReadFromUDPAddrPort(b)
	} else {
		var addr net.Addr
		n, addr, err = p.PacketConn.ReadFrom(b)
		if u, ok := addr.(*net.UDPAddr); ok {
			from = u.AddrPort()
		}
	}
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

func (p *Port) isClosed() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.closed
}

// endpoint returns whose a datagram is. A check names its session, and an
// address may have gone over to another one since it was claimed.
func (p *Port) endpoint(b []byte, from netip.AddrPort) Endpoint {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if name, ok := localFragment(b); ok {
		return p.names[string(name)]
	}
	if e := p.asked[answeredID(b)]; e != nil {
		return e
	}
	if e := p.addrs[from]; e != nil {
		return e
	}
	if record := len(b) > 0 && b[0] >= 20 && b[0] < 64; record { // RFC 7983
		return p.free[from]
	}
	return nil
}

// answeredID returns the transaction id of a STUN success response; zero for
// what is none.
func answeredID(b []byte) (id [12]byte) {
	if len(b) >= 20 && b[0] == 0x01 && b[1] == 0x01 && b[4] == 0x21 && b[5] == 0x12 && b[6] == 0xa4 && b[7] == 0x42 {
		copy(id[:], b[8:])
	}
	return id
}

// localFragment returns our half of the USERNAME of a STUN binding request
// (RFC 8445 section 7.2.2, RFC 8489 section 14.3).
func localFragment(b []byte) ([]byte, bool) {
	const headerLen, bindingRequest, username = 20, 0x0001, 0x0006
	if len(b) < headerLen || uint16(b[0])<<8|uint16(b[1]) != bindingRequest ||
		b[4] != 0x21 || b[5] != 0x12 || b[6] != 0xa4 || b[7] != 0x42 {
		return nil, false
	}
	for rest := b[headerLen:]; len(rest) >= 4; {
		kind, n := uint16(rest[0])<<8|uint16(rest[1]), int(rest[2])<<8|int(rest[3])
		padded := 4 + (n+3)&^3
		if len(rest) < 4+n {
			return nil, false
		}
		if kind == username {
			for i, c := range rest[4 : 4+n] {
				if c == ':' {
					return rest[4 : 4+i], true
				}
			}
			return nil, false
		}
		rest = rest[min(padded, len(rest)):]
	}
	return nil, false
}
