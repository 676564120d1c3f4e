package egress

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/udp/socket"
)

// maxMessages is how many kernel messages share a call. A call of so many takes a few
// hundred microseconds by a network interface, and longer over loopback and veth, where
// the call delivers them, too. For so long the scheduler does not get the processor back.
const maxMessages = 16

// probe returns the raw connection of conn, if any, and the best mode that it
// seems to allow.
func probe(conn Conn) (syscall.RawConn, Mode) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, Single
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, Single
	}
	mode := Single
	if err := raw.Control(func(fd uintptr) { mode = probeSocket(int(fd)) }); err != nil {
		return nil, Single
	}
	return raw, mode
}

func probeSocket(fd int) Mode {
	domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if protocol != unix.IPPROTO_UDP || domain != unix.AF_INET && domain != unix.AF_INET6 {
		return Single
	}
	if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT); err != nil {
		return Messages
	}
	return Segments
}

// A kernel sends many messages a call. It belongs to one [Batch].
type kernel struct {
	socket   *Socket
	patience time.Duration // how long there may be no room
	// write sends messages in order and returns how many went; if it returns
	// an error, none did, and the error is about the first or an earlier one.
	write func([]socket.Message) (int, error)

	messages []socket.Message
	retried  bool // the first message that is not sent yet

	deadline time.Time        // of waiting for room
	poll     func(fd uintptr) // waits until there is some, or that is over
}

// newKernel returns nil if the socket has only [Single].
func newKernel(s *Socket, patience time.Duration) *kernel {
	if s.Mode() == Single {
		return nil
	}
	k := &kernel{
		socket:   s,
		patience: patience,
		write:    socket.NewSender(s.raw, maxMessages).Send,
		messages: make([]socket.Message, maxMessages),
	}
	k.poll = func(fd uintptr) {
		fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		_, _ = unix.Poll(fds[:], int(time.Until(k.deadline).Milliseconds())+1)
	}
	return k
}

// send sends the runs. It returns those that are left if the socket is closed
// or stays full, both with an error, or if its mode is [Single].
func (k *kernel) send(runs []gsoRun) (rest []gsoRun, err error) {
	if k == nil {
		return runs, nil
	}
	k.retried = false
	for len(runs) > 0 {
		mode := k.socket.Mode()
		if mode == Single {
			return runs, nil
		}
		n, err := k.writeInTime(k.messages[:k.fill(runs, mode)])
		if err == nil {
			runs = k.sent(runs, n)
			continue
		}
		k.socket.calls.Add(1)
		if isClosed(err) || errors.Is(err, errFull) {
			return runs, err
		}
		runs = k.refused(runs, err)
	}
	return nil, nil
}

// writeInTime writes, and waits for room where there is none. It does not take
// the lock that the connection's own Write takes, so batches send in parallel.
func (k *kernel) writeInTime(ms []socket.Message) (int, error) {
	n, err := k.write(ms)
	if !errors.Is(err, unix.EAGAIN) {
		return n, err
	}
	for k.deadline = time.Now().Add(k.patience); time.Now().Before(k.deadline); {
		if err := k.socket.raw.Control(k.poll); err != nil {
			return 0, err
		}
		if n, err = k.write(ms); !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
	}
	return 0, errFull
}

// fill makes messages of the front of runs and returns how many.
func (k *kernel) fill(runs []gsoRun, mode Mode) int {
	n := 0
	for i := range runs {
		r := &runs[i]
		whole := mode == Segments && !r.split
		for rest := r.bytes; len(rest) > 0; n++ {
			if n == len(k.messages) {
				return n
			}
			size := len(rest)
			if !whole {
				size = min(size, r.size)
			}
			k.set(n, r, rest[:size])
			rest = rest[size:]
		}
	}
	return n
}

// set makes message i of bytes of a run, one datagram or all.
func (k *kernel) set(i int, r *gsoRun, bytes []byte) {
	m := &k.messages[i]
	m.To, m.Bytes, m.Segment = r.to, bytes, 0
	if len(bytes) > r.size {
		m.Segment = r.size
	}
}

// sent takes the first n messages off the runs they were made of.
func (k *kernel) sent(runs []gsoRun, n int) []gsoRun {
	datagrams := 0
	for i := range k.messages[:n] {
		bytes, size := len(k.messages[i].Bytes), runs[0].size
		datagrams += (bytes + size - 1) / size
		runs = skip(runs, bytes)
	}
	k.socket.sent(n, datagrams)
	k.retried = false
	return runs
}

// refused decides what becomes of the first message, which the kernel did not
// take: it is split, tried again or dropped.
func (k *kernel) refused(runs []gsoRun, err error) []gsoRun {
	first, message := &runs[0], k.messages[0]
	switch segmented := message.Segment != 0; {
	case errors.Is(err, unix.ENOSYS):
		k.socket.lower(Single, os.NewSyscallError("sendmmsg", err))
	case segmented && (errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOPROTOOPT)):
		k.socket.lower(Messages, os.NewSyscallError("sendmmsg", err))
	case segmented && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE)):
		first.split = true // segments longer than this path's MTU: the others may do
	case !k.retried:
		k.retried = true // an ICMP error of an earlier datagram is reported to the next one
	default:
		k.retried = false
		bytes := len(message.Bytes)
		k.socket.drop((bytes+first.size-1)/first.size, err)
		return skip(runs, bytes)
	}
	return runs
}
