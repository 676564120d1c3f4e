// Package port shares one UDP port between sessions of our own and pion's mux.
// A datagram is a session's if it comes from an address that the session has
// claimed, or is a STUN check for the session's ICE user name; all others are
// pion's, which reads them from the Port as if that were the socket. Since what
// comes from a publisher of pion's is not looked for in any list, an address may
// be claimed for all that comes from it only once it has proved itself.
// Clients that come by TCP are found by the same rules; nothing of theirs is pion's.
package port

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/internal/udp/binding"
	"github.com/deltacdn/delta/internal/udp/icetcp"
	"github.com/deltacdn/delta/internal/udp/socket"
)

// An Endpoint is a session of our own.
type Endpoint interface {
	// Receive takes a datagram, which came from the network at arrived and was read at
	// now. Of the two, now never goes back. The port's reader calls it, which is one
	// goroutine at a time: that of the UDP port, or that of a TCP client. It must not
	// block. It may write over packet, but keeps nothing of it. It reports whether the
	// datagram was routine: that of a session which only shows that it lives.
	Receive(now, arrived time.Time, packet []byte, from netip.AddrPort) (routine bool)
}

// A datagramSocket is the socket that a [Port] shares, as package socket has it.
type datagramSocket interface {
	ReadBatch() ([]socket.Datagram, error)
	ReadMore() []socket.Datagram
	Pause() bool
	Yield()
	WriteToAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// A Port is the shared socket: to pion it is a [net.PacketConn]. Its methods may
// be called concurrently, ReadFrom by one goroutine.
type Port struct {
	socket  datagramSocket
	drained func()                                           // static
	kicked  chan struct{}                                    // something begins that must not wait
	answer  func(request []byte, from netip.AddrPort) []byte // to plain STUN Binding requests; static
	tcp     *icetcp.Listener                                 // static after ListenTCP; nil: there is none

	unclaimed atomic.Uint64 // see Unclaimed

	// reading is held while datagrams that were read are given to endpoints, and taken
	// ahead of all their locks. Endpoints and drained rely on being called one at a time.
	reading sync.Mutex

	// the UDP reader's own
	coalesce coalescer
	moderate moderation
	pause    *time.Timer
	read     []socket.Datagram // and not looked at yet
	batches  int               // read since drained was called
	readAt   time.Time
	yielded  time.Time // when it last found all read, or let others run
	failures int       // in a row

	mu     sync.RWMutex
	names  map[string]Endpoint // by our ICE user name fragment
	addrs  map[netip.AddrPort]Endpoint
	free   map[netip.AddrPort]Endpoint // by ClaimFree
	asked  map[[12]byte]Endpoint       // by the transaction id of a STUN request
	closed bool
}

// New shares a socket, which the Port then owns. Its reader calls drained when it has
// handed out all that had come, ahead of waiting, so that answers leave together.
// answer returns the answer to a plain STUN Binding request, which belongs to no
// session; if it is nil or returns nil, there is no answer.
func New(s datagramSocket, drained func(), answer func(request []byte, from netip.AddrPort) []byte) *Port {
	return &Port{
		socket: s, drained: drained, answer: answer, kicked: make(chan struct{}, 1), names: make(map[string]Endpoint), asked: make(map[[12]byte]Endpoint),
		addrs: make(map[netip.AddrPort]Endpoint), free: make(map[netip.AddrPort]Endpoint),
	}
}

// ListenTCP has clients come by TCP, too, to a listener that the Port then owns. It must
// be called at most once, ahead of all other methods.
func (p *Port) ListenTCP(l net.Listener) *icetcp.Listener {
	p.tcp = icetcp.Listen(l, p.receive)
	return p.tcp
}

// receive gives what one TCP client has sent to its endpoint.
func (p *Port) receive(packets []socket.Datagram) (known bool) {
	p.reading.Lock()
	defer p.reading.Unlock()
	now := time.Now() // not ahead of the lock: what endpoints are told never goes back
	for _, d := range packets {
		if e := p.endpoint(d.Bytes, d.From); e != nil {
			known = true
			e.Receive(now, now, d.Bytes, d.From)
		}
	}
	p.drained()
	return known
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
	p.Kick()
	return nil
}

// Kick says that an answer is expected that must not wait to be coalesced.
func (p *Port) Kick() {
	select {
	case p.kicked <- struct{}{}:
	default: // the reader has not seen the last one yet
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
		p.tcp.Claim(addr)
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
		p.tcp.Claim(addr)
	}
}

// Own gives e all that comes from an address that e has by ClaimFree, if no other
// endpoint has claimed it since: the peer that named it has proved who it is.
func (p *Port) Own(addr netip.AddrPort, e Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free[addr] == e && p.addrs[addr] == nil {
		p.addrs[addr] = e
		delete(p.free, addr)
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

// Forget takes back what e has been given under these names and addresses. The
// connection of a TCP client is closed once what waits for it is written.
func (p *Port) Forget(e Endpoint, ufrags []string, addrs []netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range ufrags {
		if p.names[u] == e {
			delete(p.names, u)
		}
	}
	for _, a := range addrs {
		if p.addrs[a] == e || p.free[a] == e {
			p.tcp.Drop(a)
		}
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
	if icetcp.Is(to) {
		p.tcp.Send(b, to)
		return nil
	}
	_, err := p.socket.WriteToAddrPort(b, to)
	return err
}

// HasRoom reports whether little waits for an address: a TCP client's, since what is
// sent by UDP does not wait.
func (p *Port) HasRoom(to netip.AddrPort) bool { return !icetcp.Is(to) || p.tcp.HasRoom(to) }

// Close closes the socket, and ahead of it the connections of TCP clients.
func (p *Port) Close() error {
	_ = p.tcp.Close() // fails if it was closed, and so is the socket then
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
func (p *Port) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "no UDP address", Addr: to.String()}
	}
	return p.socket.WriteToAddrPort(b, udp.AddrPort())
}

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
	p.reading.Lock()
	defer p.reading.Unlock()
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
			if p.answersBinding(d) {
				continue
			}
			if !isSTUN(d.Bytes) {
				p.unclaimed.Add(1)
			}
			if !isRoutine(d.Bytes) {
				p.coalesce.note(p.readAt, false)
			}
			return copy(b, d.Bytes), d.From, nil
		}
		p.coalesce.note(p.readAt, e.Receive(p.readAt, arrived(p.readAt, d), d.Bytes, d.From))
	}
}

// mostWait is the longest that a datagram is believed to have waited for its reader.
// What seems to have waited for longer, or to come from the future, was stamped ahead
// of a step of the wall clock.
const mostWait = time.Second

// arrived returns when a datagram that was read at readAt came from the network.
func arrived(readAt time.Time, d socket.Datagram) time.Time {
	if d.Arrived.IsZero() {
		return readAt
	}
	waited := readAt.Sub(d.Arrived)
	if waited < 0 || waited > mostWait {
		return readAt
	}
	return readAt.Add(-waited)
}

// isSTUN reports whether a datagram is of STUN (RFC 7983 section 7), or empty.
func isSTUN(b []byte) bool { return len(b) == 0 || b[0] < 4 }

// Unclaimed returns how many datagrams of DTLS, media and others came from addresses that no
// endpoint has. They are pion's, which drops those that no PeerConnection of its wants.
func (p *Port) Unclaimed() uint64 { return p.unclaimed.Load() }

// answersBinding answers a STUN Binding request that is for no session.
func (p *Port) answersBinding(d socket.Datagram) bool {
	if p.answer == nil || !binding.Is(d.Bytes) {
		return false
	}
	answer := p.answer(d.Bytes, d.From)
	if answer == nil {
		return false
	}
	_ = p.Send(answer, d.From) // lost, it is asked again
	p.coalesce.note(p.readAt, true)
	return true
}

// mostBatches is the largest number of batches that are handed out before drained is
// called: a burst stays whole, but under load nothing waits for its end.
const mostBatches = 4

// mostBusy is how long the reader may find more to read each time until it lets others run:
// as long as Go's scheduler lets a goroutine run. A flood could keep it busy for ever.
const mostBusy = 10 * time.Millisecond

// fetch reads what has come, and lets others give to endpoints what they have read
// while it waits. An error that is about one datagram, as ICMP causes, is passed over:
// pion's mux would stop at it.
func (p *Port) fetch() (err error) {
	if p.batches < mostBatches {
		p.batches++
		if p.read = p.socket.ReadMore(); len(p.read) > 0 {
			p.readAt = time.Now()
			p.moderate.datagrams += len(p.read)
			return nil
		}
	}
	more := p.batches == mostBatches
	p.batches = 0
	p.drained()
	p.reading.Unlock()
	defer p.reading.Lock()
	p.coalesceReads()
	for {
		p.read, err = p.socket.ReadBatch()
		p.readAt = time.Now()
		switch {
		case err == nil && len(p.read) > 0:
			p.failures = 0
			p.yield(more)
			p.moderate.woke(p.readAt, len(p.read))
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

// yield lets others run if it is time. more says that the reader may not have waited since
// yield was last called.
func (p *Port) yield(more bool) {
	busy := more && p.readAt.Sub(p.yielded) >= mostBusy
	if busy {
		p.socket.Yield()
	}
	if busy || !more {
		p.yielded = p.readAt
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
