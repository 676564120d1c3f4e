// Package freeport chooses ports for servers that a test runs as programs, or that it
// starts again at the same address.
//
// To ask the system for any port, to close it and to hand its number to a server leaves
// a gap in which the system gives the port to somebody else: other tests ask for any
// port hundreds of times a second. So ports are chosen here from a range that systems
// give to nobody by themselves: Linux begins at 32768, others at 49152.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// The range, which also has none of the ports that browsers refuse to open.
const (
	first = 20000
	count = 12000
)

var chosen atomic.Uint32

func init() { chosen.Store(rand.Uint32N(count)) } // tests of several packages run at once

// Find returns a port at which neither TCP nor UDP is in use at host, an IP address. In
// one process each call returns another port.
func Find(host string) (port int, err error) {
	for range count {
		port = first + int(chosen.Add(1)%count)
		if err = free(net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return port, nil
		}
	}
	return 0, err
}

// free returns why nobody can listen at addr.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(u.Close(), l.Close())
}

// Port is Find at 127.0.0.1. If there is none, the test fails.
func Port(t testing.TB) int {
	t.Helper()
	port, err := Find("127.0.0.1")
	if err != nil {
		t.Fatalf("no free port: %v", err)
	}
	return port
}

// Addr returns an address with a port of 127.0.0.1, as Port does.
func Addr(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Port(t)))
}
