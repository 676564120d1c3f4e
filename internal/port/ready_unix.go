//go:build unix

package port

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// ready returns what reports whether a datagram waits at conn, nil: nothing can.
func ready(conn Conn) func() bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var n int
	fds := make([]unix.PollFd, 1)
	poll := func(fd uintptr) {
		fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n, err = unix.Poll(fds, 0)
	}
	return func() bool { return raw.Control(poll) != nil || err != nil || n > 0 }
}
