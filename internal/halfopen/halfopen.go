// Package halfopen shares out a bounded number of places among sessions, or
// links, whose other side has not yet proved that it is at the address that it
// asks from. Asking is cheap, so the places fill up in a flood; then the oldest
// of the busiest source gives way. A flood from one source so takes places from
// nobody but itself, and a client that is quick to prove its address gets in even
// among many sources.
package halfopen

import (
	"iter"
	"net/netip"
	"strings"
	"time"
)

// An Asker is the holder of a place, or a newcomer that wants one.
type Asker struct {
	// From is the source, as [Source] returns it. The zero Prefix is a source
	// like any other.
	From netip.Prefix
	// Known: it has shown what strangers do not have. It gives way to others
	// that are known only.
	Known bool
	Since time.Time
}

// Source returns the source that an address, host:port or host, belongs to: the
// address itself or, for IPv6, its /64, the smallest network that a customer
// gets. What is no IP address is the zero Prefix.
func Source(addr string) netip.Prefix {
	ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return netip.Prefix{}
		}
		ip = ap.Addr()
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // it has as many
	return p
}

// Oldest returns the holder that gives way to a newcomer: of those that may, the
// oldest of the source that has the most places, the newcomer's own counted. It
// is false if none may.
func Oldest[T any](holders iter.Seq[T], asker func(T) Asker, newcomer Asker) (oldest T, ok bool) {
	count := map[netip.Prefix]int{newcomer.From: 1}
	for h := range holders {
		count[asker(h).From]++
	}
	before := func(a, b Asker) bool {
		if a.Known != b.Known {
			return b.Known
		}
		if x, y := count[a.From], count[b.From]; x != y {
			return x > y
		}
		return a.Since.Before(b.Since)
	}
	for h := range holders {
		a := asker(h)
		if (newcomer.Known || !a.Known) && (!ok || before(a, asker(oldest))) {
			oldest, ok = h, true
		}
	}
	return oldest, ok
}
