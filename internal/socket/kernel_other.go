//go:build !linux

package socket

import "net"

func newKernel(net.PacketConn) (Socket, error) { return nil, nil }

func newShared(net.PacketConn) Socket { return nil }
