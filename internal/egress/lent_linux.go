package egress

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a call waits for room in the socket's buffer.
const patience = 10 * time.Millisecond

// errFull: there was no room in the socket's buffer for as long as patience.
var errFull = errors.New("egress: socket buffer is full")

// A lentConn makes [syscall.RawConn] of any kind of connection what
// golang.org/x/net takes for a UDP connection. It can do no more than that.
type lentConn struct {
	*net.UDPConn // nil, for its method set
	raw          *lentSocket
}

func newLentConn(raw syscall.RawConn) lentConn {
	s := &lentSocket{RawConn: raw, patience: patience}
	s.bound = s.try
	return lentConn{raw: s}
}

func (c lentConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// LocalAddr is for x/net's errors.
func (c lentConn) LocalAddr() net.Addr { return &net.UDPAddr{} }

// A lentSocket writes without the lock that the connection's own Write takes,
// so batches send in parallel, and without its deadline, which is not ours to
// set. One goroutine at a time uses it.
type lentSocket struct {
	syscall.RawConn
	patience time.Duration

	bound func(uintptr) // try
	write func(uintptr) bool
	done  bool
	poll  [1]unix.PollFd
}

// Write calls f until it returns true, or returns [errFull].
func (s *lentSocket) Write(f func(fd uintptr) bool) error {
	s.write, s.done = f, false
	if err := s.Control(s.bound); err != nil {
		return err
	}
	if !s.done {
		return errFull
	}
	return nil
}

func (s *lentSocket) try(fd uintptr) {
	if s.done = s.write(fd); s.done {
		return
	}
	deadline := time.Now().Add(s.patience)
	for left := s.patience; left > 0 && !s.done; left = time.Until(deadline) {
		s.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
		_, _ = unix.Poll(s.poll[:], int(left.Milliseconds())+1)
		s.done = s.write(fd)
	}
}
