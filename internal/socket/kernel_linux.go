package socket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// kernel is a socket of which many datagrams are read to a call. If nobody else has
// hold of it, Go's poller does not know it: what the poller waits for is an epoll
// instance that watches the socket, and can be told not to.
type kernel struct {
	local  net.Addr
	closer io.Closer // of the socket
	raw    controller
	poll   *os.File        // the epoll instance; nil: Go's poller watches the socket
	waits  syscall.RawConn // what Go's poller watches
	closed atomic.Bool

	letters chan *letter // that are not in use

	// the reader's
	resting   bool
	more      bool // may be there than was read
	conn      *ipv4.PacketConn
	messages  []ipv4.Message
	size      int // how many of them are read into at once
	datagrams []Datagram
	try       func(poll uintptr) bool // attempt
	n         int                     // what it read
	err       error
}

// newKernel takes a UDP socket of the kernel's over. It returns nil for any other
// connection.
func newKernel(conn net.PacketConn) (Socket, error) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, nil
	}
	file, err := release(udp)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	k := &kernel{local: udp.LocalAddr(), closer: file}
	if err := k.watch(file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("socket: %w", err)
	}
	k.prepare()
	return k, nil
}

// newShared reads and writes by the file descriptor that conn lends, which stays
// with Go's poller: conn can be closed by whoever else has hold of it. It returns
// nil if that is no UDP socket of the kernel's.
func newShared(conn net.PacketConn) Socket {
	lends, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := lends.SyscallConn()
	if err != nil || raw == nil {
		return nil
	}
	udp := false
	if err := raw.Control(func(fd uintptr) { udp = isUDP(int(fd)) }); err != nil || !udp {
		return nil
	}
	k := &kernel{local: conn.LocalAddr(), closer: conn, raw: controller{raw}, waits: raw}
	k.prepare()
	return k
}

func isUDP(fd int) bool {
	domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return protocol == unix.IPPROTO_UDP && (domain == unix.AF_INET || domain == unix.AF_INET6)
}

// prepare makes the buffers.
func (k *kernel) prepare() {
	k.letters = make(chan *letter, spareLetters)
	k.conn = Lend(k.raw)
	k.try = k.attempt
	k.datagrams, k.size = make([]Datagram, 0, batchSize), leastBatch
	k.messages = make([]ipv4.Message, batchSize)
	for i := range k.messages {
		k.messages[i].Buffers = [][]byte{make([]byte, maxDatagram)}
	}
}

// release returns the socket of conn, which it closes, as a file that Go's poller
// has nothing to do with: that takes only what is in non-blocking mode, but for
// what conn.File returns.
func release(conn *net.UDPConn) (*os.File, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Control(func(old uintptr) {
		if failed = unix.SetNonblock(int(old), false); failed == nil {
			fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "udp"), conn.Close()
}

// watch makes the epoll instance, which Go's poller watches in turn. The socket is
// in blocking mode, so that os leaves it alone.
func (k *kernel) watch(socket *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	k.raw = controller{raw}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for os, which asks
		_ = unix.Close(fd)
		return err
	}
	k.poll = os.NewFile(uintptr(fd), "epoll")
	if k.waits, err = k.poll.SyscallConn(); err == nil {
		err = k.poll.SetReadDeadline(time.Time{}) // fails where the poller does not take it
	}
	if err == nil {
		err = k.control(unix.EPOLL_CTL_ADD, awake)
	}
	if err != nil {
		_ = k.poll.Close()
	}
	return err
}

const (
	awake  = unix.EPOLLIN | unix.EPOLLET
	asleep = 0
)

// control changes what the epoll instance has of the socket.
func (k *kernel) control(op int, events uint32) error {
	var failed error
	err := k.waits.Control(func(poll uintptr) {
		failed = k.raw.Control(func(fd uintptr) {
			if err := unix.EpollCtl(int(poll), op, int(fd), &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
				failed = err
			}
		})
	})
	if err != nil {
		return err
	}
	return failed
}

func (k *kernel) Rest() bool {
	if k.more || k.poll == nil {
		return false
	}
	if !k.resting {
		k.resting = k.control(unix.EPOLL_CTL_MOD, asleep) == nil
	}
	return k.resting
}

func (k *kernel) rise() error {
	if !k.resting {
		return nil
	}
	k.resting = false
	return k.control(unix.EPOLL_CTL_MOD, awake)
}

func (k *kernel) ReadBatch() ([]Datagram, error) {
	// Where there was nothing left, what waits for more looks once by itself: to look
	// here, too, would be a system call more each time that something comes.
	if !k.more && !k.resting || !k.attempt(0) {
		if err := k.rise(); err != nil {
			return nil, err
		}
		if err := k.waits.Read(k.try); err != nil {
			return nil, net.ErrClosed // as is the poller
		}
	}
	if k.err != nil {
		return nil, k.err
	}
	k.more = k.n == k.size
	k.expect(k.n)
	k.datagrams = k.datagrams[:0]
	for i := range k.messages[:k.n] {
		m := &k.messages[i]
		if from, ok := m.Addr.(*net.UDPAddr); ok {
			at := from.AddrPort()
			k.datagrams = append(k.datagrams, Datagram{m.Buffers[0][:m.N], netip.AddrPortFrom(at.Addr().Unmap(), at.Port())})
		}
	}
	return k.datagrams, nil
}

// attempt reads without waiting, and reports whether there was something.
func (k *kernel) attempt(uintptr) bool {
	k.n, k.err = k.conn.ReadBatch(k.messages[:k.size], unix.MSG_DONTWAIT)
	return !errors.Is(k.err, unix.EAGAIN)
}

// leastBatch is for how many datagrams there is room at least: to make room costs
// something too, and mostly only one has come.
const leastBatch = 2

// expect makes room for what is likely to come after n datagrams.
func (k *kernel) expect(n int) {
	switch {
	case n == k.size:
		k.size = min(2*k.size, batchSize)
	case n < k.size/2:
		k.size = max(k.size/2, leastBatch)
	}
}

func (k *kernel) SyscallConn() (syscall.RawConn, error) { return k.raw, nil }

func (k *kernel) LocalAddr() net.Addr { return k.local }

func (k *kernel) Close() error {
	if k.closed.Swap(true) {
		return net.ErrClosed
	}
	if k.poll == nil {
		return k.closer.Close()
	}
	return errors.Join(k.poll.Close(), k.closer.Close()) // whoever waits for the poller goes first
}

// A controller lends the file descriptor, as long as it is open.
type controller struct{ raw syscall.RawConn }

func (c controller) Control(f func(fd uintptr)) error {
	if err := c.raw.Control(f); err != nil {
		return net.ErrClosed // os says it otherwise, and there is no other reason
	}
	return nil
}

// Read and Write wait with Go's poller, which does not know the socket.
func (c controller) Read(func(fd uintptr) bool) error  { return errors.ErrUnsupported }
func (c controller) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
