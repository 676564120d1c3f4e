//go:build !unix

package port

// ready returns nil: whether a datagram waits cannot be seen.
func ready(Conn) func() bool { return nil }
