// Package halfopen shares a bounded number of slots among half-open sessions, links and
// connections: those whose peer has not yet proved its address. Asking is cheap, so a
// flood fills the slots. Then the oldest half-open one of the busiest source is evicted.
// So a flood from one source takes slots only from itself, and a client that proves its
// address quickly gets in even among many sources.
package halfopen

import (
	"iter"
	"net/netip"
	"strings"
	"time"
)

// A Slot is one that is taken, or that a newcomer wants.
type Slot struct {
	// From is the source, as [Source] returns it. The zero Prefix is a source
	// like any other.
	From netip.Prefix
	// Known: the peer has shown that it is no stranger. It is evicted only in favour of
	// others that are known.
	Known bool
	Since time.Time
}

// Source returns the source of an address, host:port or host: the address itself or, for
// IPv6, its /64, the smallest network that a customer gets. For a host that is no IP
// address it returns the zero Prefix.
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

// Oldest returns the holder that is evicted in favour of a newcomer: of those that may
// be, the oldest of the source with the most slots, counting the newcomer's. It is false
// if none may be.
func Oldest[T any](holders iter.Seq[T], slot func(T) Slot, newcomer Slot) (oldest T, ok bool) {
	count := map[netip.Prefix]int{newcomer.From: 1}
	for h := range holders {
		count[slot(h).From]++
	}
	before := func(a, b Slot) bool {
		if a.Known != b.Known {
			return b.Known
		}
		if x, y := count[a.From], count[b.From]; x != y {
			return x > y
		}
		return a.Since.Before(b.Since)
	}
	for h := range holders {
		a := slot(h)
		if (newcomer.Known || !a.Known) && (!ok || before(a, slot(oldest))) {
			oldest, ok = h, true
		}
	}
	return oldest, ok
}
