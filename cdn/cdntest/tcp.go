package cdntest

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pion/transport/v5/deadline"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/netem"
)

const (
	// tcpWindow bounds the bytes of a connection, each way, that were written and not
	// read yet: those on their way, and those that wait for the reader.
	tcpWindow = 64 << 10
	// tcpSegment is how much of what is written travels as one packet.
	tcpSegment = 1440
	// tcpAgain is when a packet that the path lost travels again. What follows waits.
	tcpAgain = 200 * time.Millisecond
	// tcpAttempts bounds how often one does.
	tcpAttempts = 300
	// tcpBacklog is how many connections wait to be accepted; others are refused.
	tcpBacklog = 1024
)

var _ cdn.TCPNetwork = hostNetwork{}

// ListenTCP opens a listener, to which [Host.DialTCP] connects.
func (n hostNetwork) ListenTCP(at netip.AddrPort) (net.Listener, error) {
	h := n.host
	at = unmap(at)
	if ip := at.Addr(); ip.IsValid() && ip != h.ip && !ip.IsLoopback() && !ip.IsUnspecified() {
		return nil, tcpError("listen", at, syscall.EADDRNOTAVAIL)
	}
	l := &tcpListener{host: h, waiting: make(chan *tcpConn, tcpBacklog), closed: make(chan struct{})}
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	port := at.Port()
	for port == 0 || at.Port() == 0 && h.listeners[port] != nil {
		port = h.tcpPortLocked()
	}
	switch {
	case h.network.closed:
		return nil, tcpError("listen", at, net.ErrClosed)
	case h.listeners[port] != nil:
		return nil, tcpError("listen", at, syscall.EADDRINUSE)
	}
	l.local = netip.AddrPortFrom(at.Addr(), port)
	if !at.Addr().IsValid() {
		l.local = netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	}
	if h.listeners == nil {
		h.listeners = make(map[uint16]*tcpListener)
	}
	h.listeners[port] = l
	return l, nil
}

// tcpPortLocked returns another port of the dynamic range.
func (h *Host) tcpPortLocked() uint16 {
	if h.lastTCP++; h.lastTCP < firstPort {
		h.lastTCP = firstPort
	}
	return h.lastTCP
}

// DialTCP connects to a listener on the network. The connection is ordered and loses
// nothing: what the path loses comes later, and so does all that follows. A writer
// waits while 64 KiB are on their way or wait for the reader. [Filter] and [Traffic]
// do not see it. A host that was cut off answers nothing, until ctx ends.
func (h *Host) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	n := h.network
	n.mu.Lock()
	other := n.routeLocked(h, to.Addr())
	from := netip.AddrPortFrom(h.ip, h.tcpPortLocked())
	if to.Addr().IsLoopback() {
		from = netip.AddrPortFrom(to.Addr(), from.Port())
	}
	n.mu.Unlock()
	if other == nil {
		return nil, tcpError("dial", to, syscall.EHOSTUNREACH)
	}
	there := newTCPStream(h, other)
	back := newTCPStream(other, h)
	client := &tcpConn{local: from, remote: to, in: back, out: there}
	server := &tcpConn{local: to, remote: from, in: there, out: back}
	select {
	case <-time.After(there.delay() + back.delay()):
	case <-ctx.Done():
		return nil, tcpError("dial", to, ctx.Err())
	}
	n.mu.Lock()
	l, cut := other.listeners[to.Port()], h != other && (h.cut || other.cut)
	n.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, tcpError("dial", to, ctx.Err())
	}
	if l == nil || !l.offer(server) {
		return nil, tcpError("dial", to, syscall.ECONNREFUSED)
	}
	return client, nil
}

func tcpError(op string, at netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: net.TCPAddrFromAddrPort(at), Err: err}
}

// A tcpListener is a listener of a [Host].
type tcpListener struct {
	host    *Host
	local   netip.AddrPort
	waiting chan *tcpConn
	closed  chan struct{}
	once    sync.Once
}

func (l *tcpListener) offer(c *tcpConn) bool {
	select {
	case l.waiting <- c:
		return true
	default:
		return false
	}
}

func (l *tcpListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, tcpError("accept", l.local, net.ErrClosed)
	default:
	}
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.closed:
		return nil, tcpError("accept", l.local, net.ErrClosed)
	}
}

func (l *tcpListener) Close() error {
	err := tcpError("close", l.local, net.ErrClosed)
	l.once.Do(func() {
		err = nil
		close(l.closed)
		l.host.network.mu.Lock()
		delete(l.host.listeners, l.local.Port())
		l.host.network.mu.Unlock()
		for {
			select {
			case c := <-l.waiting:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return err
}

func (l *tcpListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// A tcpConn is one side of a connection.
type tcpConn struct {
	local, remote netip.AddrPort
	in, out       *tcpStream
}

func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // as io.Reader has it
		err = tcpError("read", c.local, err)
	}
	return n, err
}

func (c *tcpConn) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var some int
		some, err = c.out.write(b[:min(len(b), tcpSegment)])
		n, b = n+some, b[some:]
	}
	if err != nil {
		return n, tcpError("write", c.local, err)
	}
	return n, nil
}

// CloseWrite ends what the other side reads, once it has read all.
func (c *tcpConn) CloseWrite() error {
	c.out.finish()
	return nil
}

// Close closes both ways. What was written still arrives, as far as the other side
// has not written more meanwhile: that breaks the connection.
func (c *tcpConn) Close() error {
	c.out.finish()
	c.in.abandon()
	return nil
}

func (c *tcpConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *tcpConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *tcpConn) SetDeadline(t time.Time) error {
	c.in.readBy.Set(t)
	c.out.writeBy.Set(t)
	return nil
}

func (c *tcpConn) SetReadDeadline(t time.Time) error {
	c.in.readBy.Set(t)
	return nil
}

func (c *tcpConn) SetWriteDeadline(t time.Time) error {
	c.out.writeBy.Set(t)
	return nil
}

// A tcpStream is one direction of a connection.
type tcpStream struct {
	from, to        *Host
	readBy, writeBy *deadline.Deadline

	mu        sync.Mutex
	flight    []segment
	arrived   []byte // and not read
	bytes     int    // in flight, and arrived
	last      time.Time
	timer     *time.Timer // of the first in flight; nil: there is none
	finished  bool        // nothing more is written
	abandoned bool        // nothing is read any more
	changed   chan struct{}
}

// A segment is a packet on its way. One without data is the end.
type segment struct {
	data []byte
	due  time.Time
}

func newTCPStream(from, to *Host) *tcpStream {
	return &tcpStream{from: from, to: to, readBy: deadline.New(), writeBy: deadline.New(), changed: make(chan struct{})}
}

// delay is how long a small packet takes.
func (s *tcpStream) delay() time.Duration {
	now := time.Now()
	return s.travel(now, 0).Sub(now)
}

// travel returns when a packet arrives that leaves at now.
func (s *tcpStream) travel(now time.Time, size int) time.Time {
	if s.from == s.to {
		return now
	}
	n := s.from.network
	n.mu.Lock()
	defer n.mu.Unlock()
	links := []*netem.Link{s.from.up, s.to.down}
	if own := n.pairLocked(pairKey{s.from, s.to}).own; own != nil {
		links = []*netem.Link{own}
	}
	for range tcpAttempts {
		at, f := now, netem.Passed
		for _, l := range links {
			if f == netem.Passed {
				at, f = l.Carry(at, size)
			}
		}
		if f == netem.Passed {
			return at
		}
		now = now.Add(tcpAgain)
	}
	return now // even a path that loses everything does not lose time without end
}

// notifyLocked wakes all that wait.
func (s *tcpStream) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// write writes one packet. It waits until there is room.
func (s *tcpStream) write(b []byte) (int, error) {
	for {
		s.mu.Lock()
		switch {
		case s.abandoned:
			s.mu.Unlock()
			return 0, syscall.EPIPE
		case s.finished:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case s.bytes+len(b) <= tcpWindow:
			s.bytes += len(b)
			s.sendLocked(append([]byte(nil), b...))
			s.mu.Unlock()
			return len(b), nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-s.writeBy.Done():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (s *tcpStream) sendLocked(b []byte) {
	now := time.Now()
	due := s.travel(now, len(b))
	if due.Before(s.last) {
		due = s.last
	}
	s.last = due
	s.flight = append(s.flight, segment{b, due})
	if s.timer == nil {
		s.timer = time.AfterFunc(due.Sub(now), s.arrive)
	}
}

// arrive takes in what is due.
func (s *tcpStream) arrive() {
	n := s.from.network
	n.mu.Lock()
	cut, closed := s.from != s.to && (s.from.cut || s.to.cut), n.closed
	n.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	now := time.Now()
	for !cut && len(s.flight) > 0 && !s.flight[0].due.After(now) {
		s.arrived = append(s.arrived, s.flight[0].data...)
		s.flight = s.flight[1:]
	}
	s.notifyLocked()
	switch {
	case len(s.flight) == 0 || s.abandoned || closed:
	case cut:
		s.timer = time.AfterFunc(tcpAgain, s.arrive)
	default:
		s.timer = time.AfterFunc(s.flight[0].due.Sub(now), s.arrive)
	}
}

func (s *tcpStream) read(b []byte) (int, error) {
	for {
		select {
		case <-s.readBy.Done():
			return 0, os.ErrDeadlineExceeded
		default:
		}
		s.mu.Lock()
		switch {
		case s.abandoned:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case len(s.arrived) > 0:
			k := copy(b, s.arrived)
			s.arrived = append([]byte(nil), s.arrived[k:]...)
			s.bytes -= k
			s.notifyLocked()
			s.mu.Unlock()
			return k, nil
		case s.finished && len(s.flight) == 0:
			s.mu.Unlock()
			return 0, io.EOF
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-s.readBy.Done():
		}
	}
}

// finish is the writer's end.
func (s *tcpStream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.finished {
		s.finished = true
		s.sendLocked(nil)
	}
	s.writeBy.Set(time.Time{}) // stops its timer
	s.notifyLocked()
}

// abandon is the reader's end.
func (s *tcpStream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	s.readBy.Set(time.Time{})
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.notifyLocked()
}
