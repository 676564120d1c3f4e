package cdntest

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/netem"
)

// A datagram is a packet on its way.
type datagram struct {
	src, dst netip.AddrPort
	data     []byte
	from, to *Host
	pair     *pair
	due      time.Time
	at       time.Duration // due, since the network began
	order    uint64        // of sending: of two due together, the first sent is first
	inCore   bool          // to's access path is still ahead
}

// datagrams are those that nobody needs any more, for others to use.
var datagrams = sync.Pool{New: func() any { return &datagram{} }}

func newDatagram(src, dst netip.AddrPort, data []byte) *datagram {
	d := datagrams.Get().(*datagram)
	d.src, d.dst, d.data = src, dst, append(d.data[:0], data...)
	return d
}

// free gives d up.
func (d *datagram) free() {
	*d = datagram{data: d.data}
	datagrams.Put(d)
}

// send takes a copy of data on its way. Like a real network it keeps quiet
// about packets that will not arrive.
func (n *Network) send(from *Host, src, dst netip.AddrPort, data []byte) error {
	pass := true
	if f := n.filter.Load(); f != nil {
		pass = (*f)(src, dst, data)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return net.ErrClosed
	}
	to := n.routeLocked(from, dst.Addr())
	if to == nil {
		return nil
	}
	p := n.pairLocked(pairKey{from, to})
	p.traffic.Sent++
	p.traffic.SentBytes += len(data)
	switch {
	case !pass:
		p.traffic.Filtered++
	case len(data)+netem.Overhead > n.mtu:
		p.traffic.TooBig++
	case from != to && (from.cut || to.cut):
		p.traffic.Cut++
	default:
		d := newDatagram(src, dst, data)
		d.from, d.to, d.pair = from, to, p
		n.dispatchLocked(d, time.Now())
	}
	return nil
}

func (n *Network) routeLocked(from *Host, to netip.Addr) *Host {
	if to.IsLoopback() || to.IsUnspecified() {
		return from
	}
	return n.hosts[to]
}

// dispatchLocked puts d on the first link of its way.
func (n *Network) dispatchLocked(d *datagram, now time.Time) {
	n.sent++
	d.order = n.sent
	switch {
	case d.from == d.to:
		n.enqueueLocked(d, now, now)
	case d.pair.own != nil:
		n.carryLocked(d, d.pair.own, now, now)
	default:
		d.inCore = true
		n.carryLocked(d, d.from.up, now, now)
	}
}

// carryLocked puts d on a link that it enters at one time, which is now or has just
// been.
func (n *Network) carryLocked(d *datagram, l *netem.Link, enters, now time.Time) {
	out, fate := l.Carry(enters, len(d.data))
	switch fate {
	case netem.Lost:
		d.pair.traffic.Lost++
		d.free()
	case netem.QueueFull:
		d.pair.traffic.QueueFull++
		d.free()
	case netem.Passed:
		n.enqueueLocked(d, out, now)
	}
}

// enqueueLocked moves d on when it is due. What is due at once moves on at once, so
// that a packet wakes the network's goroutine only when it has waited.
func (n *Network) enqueueLocked(d *datagram, due, now time.Time) {
	d.due, d.at = due, due.Sub(n.began)
	n.queue.push(d)
	if n.queue[0] == d && !n.forwarding {
		n.forwardLocked(now)
	}
}

// run moves packets on when they are due.
func (n *Network) run() {
	for {
		select {
		case <-n.timer.C:
			n.mu.Lock()
			n.forwardLocked(time.Now())
			n.mu.Unlock()
		case <-n.quit:
			n.timer.Stop()
			return
		}
	}
}

// forwardLocked moves on what is due at now, and sets the timer for what comes next.
func (n *Network) forwardLocked(now time.Time) {
	n.forwarding = true
	defer func() { n.forwarding = false }()
	for len(n.queue) > 0 {
		if next := n.queue[0].due; next.After(now) {
			n.timer.Reset(next.Sub(now))
			return
		}
		d := n.queue.pop()
		if d.inCore {
			d.inCore = false
			n.carryLocked(d, d.to.down, d.due, now) // not at now: a late timer delays nothing further
			continue
		}
		if !d.deliver() {
			d.free()
		}
	}
}

// deliver hands d to its socket, and reports whether that has taken it. The network's
// lock is held.
func (d *datagram) deliver() (taken bool) {
	t := &d.pair.traffic
	if d.from != d.to && (d.from.cut || d.to.cut) {
		t.Cut++
		return false
	}
	c := d.to.ports[d.dst.Port()]
	switch {
	case c == nil || !c.accepts(d):
		t.NoSocket++
		return false
	case !c.push(d):
		t.Overflow++
		return false
	}
	t.Arrived++
	return true
}

// A dueQueue is a heap of the packets on their way, the one due first on top.
type dueQueue []*datagram

// before reports whether d is due ahead of e.
func (d *datagram) before(e *datagram) bool {
	return d.at < e.at || d.at == e.at && d.order < e.order
}

func (q *dueQueue) push(d *datagram) {
	*q = append(*q, d)
	all := *q
	i := len(all) - 1
	for i > 0 {
		above := (i - 1) / 2
		if !d.before(all[above]) {
			break
		}
		all[i], i = all[above], above
	}
	all[i] = d
}

func (q *dueQueue) pop() *datagram {
	all := *q
	first, last := all[0], len(all)-1
	d := all[last]
	all[last] = nil
	all = all[:last]
	*q = all
	if last == 0 {
		return first
	}
	i := 0
	for below := 1; below < last; below = 2*i + 1 {
		if other := below + 1; other < last && all[other].before(all[below]) {
			below = other
		}
		if !all[below].before(d) {
			break
		}
		all[i], i = all[below], below
	}
	all[i] = d
	return first
}
