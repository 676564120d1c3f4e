package emu

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A Namespace is a network namespace with a loopback interface. Its methods may be
// called concurrently.
type Namespace struct {
	calls chan func()
	ended chan struct{}
	file  string
}

// NewNamespace makes one. The caller must close it.
func NewNamespace() (*Namespace, error) {
	n := &Namespace{calls: make(chan func()), ended: make(chan struct{})}
	ready := make(chan error)
	go n.run(ready) // Close waits for it
	if err := <-ready; err != nil {
		n.Close()
		return nil, fmt.Errorf("namespace: %w", err)
	}
	if err := n.ip("link set lo up"); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// run is the thread that is in the namespace, which lives as long as that and the
// processes in it. It is not unlocked, so it ends with the goroutine.
func (n *Namespace) run(ready chan<- error) {
	defer close(n.ended)
	runtime.LockOSThread()
	n.file = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	ready <- unix.Unshare(unix.CLONE_NEWNET)
	for call := range n.calls {
		call()
	}
}

// Close ends the thread and waits for it. Sockets and processes in the namespace
// stay until they are closed.
func (n *Namespace) Close() {
	close(n.calls)
	<-n.ended
}

// File returns the path of the namespace's file, as nsenter --net takes it.
func (n *Namespace) File() string { return n.file }

// Do calls f on a thread in the namespace: sockets that f itself opens, and
// processes that it starts, are in it. Goroutines that f starts are not. One f runs
// at a time.
func (n *Namespace) Do(f func() error) error {
	result := make(chan error)
	n.calls <- func() { result <- f() }
	return <-result
}

// Start starts a command in the namespace.
func (n *Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Listen listens for TCP connections at an address in the namespace.
func (n *Namespace) Listen(address string) (l net.Listener, err error) {
	err = n.Do(func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	return l, err
}

// Dial connects by TCP to an IPv4 address in the namespace.
func (n *Namespace) Dial(ctx context.Context, address string) (c net.Conn, err error) {
	err = n.Do(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp4", address) // one address: dialed by this goroutine
		return err
	})
	return c, err
}

// ip runs the tool ip of iproute2 in the namespace.
func (n *Namespace) ip(args string) error {
	var out strings.Builder
	cmd := exec.Command("ip", strings.Fields(args)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.Start(cmd); err != nil {
		return fmt.Errorf("ip %s: %w", args, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(out.String()))
	}
	return nil
}
