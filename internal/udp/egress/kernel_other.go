//go:build !linux

package egress

import (
	"syscall"
	"time"
)

func probe(Conn) (syscall.RawConn, Mode) { return nil, Single }

// A kernel sends many messages a call, which is for Linux.
type kernel struct{}

func newKernel(*Socket, time.Duration) *kernel { return nil }

func (*kernel) send(runs []gsoRun) (rest []gsoRun, err error) { return runs, nil }
