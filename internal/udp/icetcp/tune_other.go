//go:build !linux

package icetcp

import "net"

// sendBuffer holds what the path takes at 10 Mbit/s and 100 ms.
const sendBuffer = 128 << 10

// tune has what waits for a slow client wait here, where it can be left out.
func tune(conn net.Conn) {
	if c, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = c.SetWriteBuffer(sendBuffer)
	}
}
