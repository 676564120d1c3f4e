package dtlssrtp

import (
	"bytes"
	"slices"
)

// The layout of a handshake record (RFC 6347 sections 4.1 and 4.2.2).
const (
	recordHeaderLen    = 13
	handshakeHeaderLen = 12
	handshakeRecord    = 22
	clientHello        = 1
)

// IsClientHello reports whether a datagram begins a handshake: whether it begins
// with a ClientHello, or with any fragment of one.
func IsClientHello(datagram []byte) bool {
	return len(datagram) > recordHeaderLen && datagram[0] == handshakeRecord && datagram[recordHeaderLen] == clientHello
}

// MaxHello bounds what a [Hello] keeps, in bytes. A ClientHello with a key share
// against quantum computers takes 1,400 to 1,800, headers included.
const MaxHello = 3000

// A Hello keeps the datagrams with a ClientHello that may not be answered yet,
// since its address is not proved. They may come out of order, and more than
// once. The zero value is ready to use.
type Hello struct {
	datagrams [][]byte
	size      int
}

// Keep keeps a copy of a datagram with a ClientHello, or with a fragment that is
// not here yet, if there is room. It reports whether it did.
func (h *Hello) Keep(datagram []byte) bool {
	if !IsClientHello(datagram) || h.size+len(datagram) > MaxHello || slices.ContainsFunc(h.datagrams, func(d []byte) bool {
		return sameFragment(d, datagram)
	}) {
		return false
	}
	h.datagrams = append(h.datagrams, slices.Clone(datagram))
	h.size += len(datagram)
	return true
}

// Take returns what was kept, in the order in which it came, and forgets it.
func (h *Hello) Take() [][]byte {
	all := h.datagrams
	*h = Hello{}
	return all
}

// Len returns how many datagrams are kept.
func (h *Hello) Len() int { return len(h.datagrams) }

// sameFragment reports whether two datagrams with a ClientHello bring the same of
// it: if the second is the first again, from the network or, with another record
// number, from the client.
func sameFragment(a, b []byte) bool {
	const sequence, afterwards = 5, 11 // where the record number lies
	return len(a) == len(b) && bytes.Equal(a[:sequence], b[:sequence]) && bytes.Equal(a[afterwards:], b[afterwards:])
}
