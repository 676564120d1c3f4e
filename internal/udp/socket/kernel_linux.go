package socket

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernel is a socket of which many datagrams are read with one call. If it was taken
// out of the hands of Go's poller, the poller watches an epoll instance in its place,
// which watches the socket and can be told not to.
type kernel struct {
	local net.Addr
	fd    *descriptor // the socket, if it was taken
	raw   syscall.RawConn
	poll  *os.File        // the epoll instance; nil: Go's poller watches the socket
	waits syscall.RawConn // what Go's poller watches

	spareWriters chan *writer

	// the reader's
	paused bool
	more   bool // may be there than was read
	in     *Receiver
	size   int                     // how many datagrams are read at once
	try    func(poll uintptr) bool // attempt
	n      int                     // what it read
	err    error
}

// newKernel takes the socket of conn out of the hands of Go's poller, and closes conn.
func newKernel(conn *net.UDPConn) (*kernel, error) {
	fd, err := release(conn)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	k := &kernel{local: conn.LocalAddr(), fd: fd, raw: fd}
	if err := k.watch(); err != nil {
		_ = fd.close()
		return nil, fmt.Errorf("socket: %w", err)
	}
	k.prepare()
	return k, nil
}

// share reads and writes by the file descriptor of conn, which stays in the hands of
// Go's poller, and which others may use and close.
func share(conn *net.UDPConn) (*kernel, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	k := &kernel{local: conn.LocalAddr(), raw: controller{raw: raw}, waits: raw}
	k.prepare()
	return k, nil
}

// prepare makes the buffers.
func (k *kernel) prepare() {
	k.spareWriters = make(chan *writer, maxSpareWriters)
	control := 0
	if k.stampArrivals() {
		control = stampSpace
	}
	k.in, k.size, k.try = NewReceiver(k.raw, batchSize, control), leastBatch, k.attempt
}

// release closes conn, and returns its socket, which Go's poller does not know then.
func release(conn *net.UDPConn) (*descriptor, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Control(func(old uintptr) {
		fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	return &descriptor{fd: fd}, conn.Close()
}

// watch makes the epoll instance, which Go's poller watches in turn.
func (k *kernel) watch() error {
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

// control changes which events of the socket the epoll instance watches.
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

func (k *kernel) pause() bool {
	if k.more || k.poll == nil {
		return false
	}
	if !k.paused {
		k.paused = k.control(unix.EPOLL_CTL_MOD, asleep) == nil
	}
	return k.paused
}

func (k *kernel) resume() error {
	if !k.paused {
		return nil
	}
	k.paused = false
	return k.control(unix.EPOLL_CTL_MOD, awake)
}

func (k *kernel) readBatch() ([]Datagram, error) {
	if err := k.read(); err != nil {
		return nil, err
	}
	return k.taken(), nil
}

// readMore returns nothing if nothing was left, or it cannot be read.
func (k *kernel) readMore() []Datagram {
	if !k.more {
		return nil
	}
	if k.more = k.attempt(0); !k.more || k.err != nil {
		return nil
	}
	return k.taken()
}

// taken returns the datagrams that were read.
func (k *kernel) taken() []Datagram {
	n := k.n
	k.more = n == k.size
	k.expect(n)
	return k.in.Taken(n)
}

// read waits until there is something to read, and reads it. If the last call has
// left nothing, the poller's wait looks first anyway: to look here, too, would be one
// more system call for each batch.
func (k *kernel) read() error {
	if (k.more || k.paused) && k.attempt(0) {
		return k.err
	}
	if err := k.resume(); err != nil {
		return err
	}
	switch err := k.waits.Read(k.try); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case err != nil:
		return net.ErrClosed // the only other reason
	}
	return k.err
}

// readOne reads one datagram into b.
func (k *kernel) readOne(b []byte) (int, netip.AddrPort, error) {
	for {
		k.size = 1
		all, err := k.readBatch()
		if err != nil {
			return 0, netip.AddrPort{}, err
		}
		if len(all) > 0 {
			return copy(b, all[0].Bytes), all[0].From, nil
		}
	}
}

// attempt reads without waiting, and reports whether there was something.
func (k *kernel) attempt(uintptr) bool {
	k.n, k.err = k.in.Receive(k.size)
	return !errors.Is(k.err, unix.EAGAIN)
}

// leastBatch is the least number of datagrams that there is room for. To make room
// costs something, too, and in most cases only one has come.
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

func (k *kernel) setReadDeadline(t time.Time) error { return k.poll.SetReadDeadline(t) }

// close closes a socket that was taken.
func (k *kernel) close() error {
	return errors.Join(k.poll.Close(), k.fd.close()) // whoever waits for the poller goes first
}

// A descriptor is a file descriptor that nobody waits for. It is a [syscall.RawConn].
type descriptor struct {
	noWait
	fd     int
	users  atomic.Int64
	closed atomic.Bool
}

func (d *descriptor) Control(f func(fd uintptr)) error {
	d.users.Add(1)
	defer d.users.Add(-1)
	if d.closed.Load() {
		return net.ErrClosed
	}
	f(uintptr(d.fd))
	return nil
}

// close closes the descriptor when nobody uses it any more, so that the port is free
// when it returns. (An [os.File] in blocking mode would not wait for that.) Those who
// use it do not wait, but for room in the socket's buffer for some milliseconds.
func (d *descriptor) close() error {
	d.closed.Store(true)
	for d.users.Load() > 0 {
		time.Sleep(20 * time.Microsecond)
	}
	return unix.Close(d.fd)
}

// A controller gives access to the file descriptor of a shared socket while it is open.
type controller struct {
	noWait
	raw syscall.RawConn
}

func (c controller) Control(f func(fd uintptr)) error {
	if err := c.raw.Control(f); err != nil {
		return net.ErrClosed // os says it otherwise, and there is no other reason
	}
	return nil
}

// noWait refuses to wait for a descriptor: Go's poller does not know it, or it is for
// another reader.
type noWait struct{}

func (noWait) Read(func(fd uintptr) bool) error  { return errors.ErrUnsupported }
func (noWait) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
