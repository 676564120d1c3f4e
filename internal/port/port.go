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
	"time"

	"github.com/deltacdn/delta/internal/socket"
)

// An Endpoint is a session of our own.
type Endpoint interface {
	// Receive takes a datagram. The port's one reader calls it: it must not
	// block. It may write over packet, but keeps nothing of it. It reports whether
	// the datagram was routine: that of a session which only shows that it lives.
	Receive(now time.Time, packet []byte, from netip.AddrPort) (routine bool)
}

// A Port is the shared socket: to pion it is a [net.PacketConn]. Its methods may
// be called concurrently, ReadFrom by one goroutine.
type Port struct {
	socket  socket.Socket
	drained func()        // static
	stirred chan struct{} // something begins that ends a lull

	// the reader's own
	lull     lull
	pause    *time.Timer
	read     []socket.Datagram // and not looked at yet
	readAt   time.Time
	failures int // in a row

	mu     sync.RWMutex
	names  map[string]Endpoint // by our ICE user name fragment
	addrs  map[netip.AddrPort]Endpoint
	free   map[netip.AddrPort]Endpoint // by ClaimFree
	asked  map[[12]byte]Endpoint       // by the transaction id of a STUN request
	closed bool
}

// New shares a socket, which the Port then owns. Its reader calls drained each time
// that all which had come was taken, before it waits: for answers that leave
// together.
func New(s socket.Socket, drained func()) *Port {
	return &Port{
		socket: s, drained: drained, stirred: make(chan struct{}, 1), names: make(map[string]Endpoint), asked: make(map[[12]byte]Endpoint),
		addrs: make(map[netip.AddrPort]Endpoint), free: make(map[netip.AddrPort]Endpoint),
	}
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
	p.Stir()
	return nil
}

// Stir says that an answer is expected which hurries.
func (p *Port) Stir() {
	select {
	case p.stirred <- struct{}{}:
	default: // it was said already
	}
}

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
	_, err := p.socket.WriteToUDPAddrPort(b, to)
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
	return p.socket.Close()
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

// WriteTo is Send for those who have a [net.Addr], which has to be a UDP address.
func (p *Port) WriteTo(b []byte, to net.Addr) (int, error) { return p.socket.WriteTo(b, to) }

// LocalAddr returns the address that the socket is bound to.
func (p *Port) LocalAddr() net.Addr { return p.socket.LocalAddr() }

// SetWriteDeadline does nothing: pion's mux sets a deadline to stop one write,
// which would stop those of all sessions. A datagram does not wait for long.
func (p *Port) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline and SetDeadline do nothing: reading goes on until Close.
func (p *Port) SetReadDeadline(time.Time) error { return nil }
func (p *Port) SetDeadline(time.Time) error     { return nil }

// ReadFromAddrPort returns the next datagram that is nobody's of ours; the
// others are handed to their endpoints.
func (p *Port) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		if len(p.read) == 0 {
			if err := p.fetch(); err != nil {
				return 0, netip.AddrPort{}, err
			}
		}
		d := p.read[0]
		p.read = p.read[1:]
		e := p.endpoint(d.Bytes, d.From)
		if e == nil {
			if !isRoutine(d.Bytes) {
				p.lull.note(p.readAt, false)
			}
			return copy(b, d.Bytes), d.From, nil
		}
		p.lull.note(p.readAt, e.Receive(p.readAt, d.Bytes, d.From))
	}
}

// fetch reads what has come. An error that is about one datagram, as ICMP causes,
// is passed over: pion's mux would stop at it.
func (p *Port) fetch() (err error) {
	p.drained()
	p.rest()
	for {
		p.read, err = p.socket.ReadBatch()
		p.readAt = time.Now()
		switch {
		case err == nil && len(p.read) > 0:
			p.failures = 0
			return nil
		case err == nil:
		case p.isClosed() || errors.Is(err, net.ErrClosed):
			return err
		default:
			if p.failures++; p.failures == maxFailures {
				return err
			}
		}
	}
}

// rest waits for a moment in a lull, unless something begins that ends it.
func (p *Port) rest() {
	select {
	case <-p.stirred:
		p.lull.note(time.Now(), false)
	default:
	}
	if !p.lull.lasts || !p.socket.Rest() {
		return
	}
	if p.pause == nil {
		p.pause = time.NewTimer(lullPause)
	} else {
		p.pause.Reset(lullPause)
	}
	select {
	case <-p.pause.C:
	case <-p.stirred:
		p.pause.Stop()
		p.lull.note(time.Now(), false)
	}
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
