package dtlssrtp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v5/packetio"
)

// maxQueued bounds the records that wait for the connection.
const maxQueued = 64

// A Pipe is the connection that DTLS sees: its records come from the node's one
// reader, and go to wherever the other side is now. Its methods may be called
// concurrently.
type Pipe struct {
	in    *packetio.Buffer
	out   func(record []byte) error
	muted atomic.Bool

	mu       sync.Mutex
	flight   [][]byte // what was written since a record came
	over     bool     // a record has come since
	complete bool     // the handshake is over: flights are not kept any more
}

// nowhere is the address that DTLS is told: it is the session that knows.
var nowhere = &net.UDPAddr{}

// NewPipe returns a Pipe whose records go out through out.
func NewPipe(out func(record []byte) error) *Pipe {
	p := &Pipe{in: packetio.NewBuffer(), out: out}
	p.in.SetLimitCount(maxQueued)
	return p
}

// Put takes a record that came, and keeps nothing of it. When too many wait it
// is lost, as on the way.
func (p *Pipe) Put(record []byte) {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	_, _ = p.in.Write(record, nil)
}

// Repeat sends the last flight again. The other side drops what it has already
// (RFC 6347 section 4.1.2.6).
func (p *Pipe) Repeat() {
	p.mu.Lock()
	flight := p.flight
	p.mu.Unlock()
	for _, b := range flight {
		_ = p.out(b)
	}
}

// Complete says that the last flight has arrived, and none is to be kept.
func (p *Pipe) Complete() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flight, p.complete = nil, true
}

// Mute has what is written go nowhere, or out again.
func (p *Pipe) Mute(yes bool) { p.muted.Store(yes) }

// ReadFrom implements [net.PacketConn].
func (p *Pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := p.in.Read(b, nil)
	return n, nowhere, err
}

// WriteTo implements [net.PacketConn]. The address is not looked at.
func (p *Pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	if p.muted.Load() {
		return len(b), nil
	}
	p.mu.Lock()
	if p.over {
		p.flight, p.over = nil, false
	}
	if !p.complete {
		p.flight = append(p.flight, append([]byte(nil), b...))
	}
	p.mu.Unlock()
	return len(b), p.out(b)
}

// Close ends reading. What is written goes out all the same.
func (p *Pipe) Close() error { return p.in.Close() }

// LocalAddr implements [net.PacketConn].
func (p *Pipe) LocalAddr() net.Addr { return nowhere }

// SetReadDeadline implements [net.PacketConn].
func (p *Pipe) SetReadDeadline(t time.Time) error { return p.in.SetReadDeadline(t) }

// SetDeadline is SetReadDeadline: writing does not block.
func (p *Pipe) SetDeadline(t time.Time) error { return p.in.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writing does not block.
func (p *Pipe) SetWriteDeadline(time.Time) error { return nil }
