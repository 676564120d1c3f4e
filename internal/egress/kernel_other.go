//go:build !linux

package egress

import "syscall"

func probe(Conn) (syscall.RawConn, Mode) { return nil, Single }

// A kernel sends many messages a call, which is for Linux.
type kernel struct{}

func newKernel(*Socket) *kernel { return nil }

func (*kernel) send(runs []run) (rest []run, err error) { return runs, nil }
