package cdntest

import (
	"container/heap"
	"net"
	"net/netip"
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
	order    uint64 // of sending: of two due together, the first sent is first
	inCore   bool   // to's access path is still ahead
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
		d := &datagram{src: src, dst: dst, from: from, to: to, pair: p, data: append([]byte(nil), data...)}
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
		n.enqueueLocked(d, now)
	case d.pair.own != nil:
		n.carryLocked(d, d.pair.own, now)
	default:
		d.inCore = true
		n.carryLocked(d, d.from.up, now)
	}
}

func (n *Network) carryLocked(d *datagram, l *netem.Link, now time.Time) {
	out, fate := l.Carry(now, len(d.data))
	switch fate {
	case netem.Lost:
		d.pair.traffic.Lost++
	case netem.QueueFull:
		d.pair.traffic.QueueFull++
	case netem.Passed:
		n.enqueueLocked(d, out)
	}
}

func (n *Network) enqueueLocked(d *datagram, due time.Time) {
	d.due = due
	heap.Push(&n.queue, d)
	if n.queue[0] == d {
		select {
		case n.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// run moves packets on when they are due.
func (n *Network) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if next := n.forward(time.Now()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-n.wake:
		case <-n.quit:
			return
		}
	}
}

// forward moves on what is due at now and returns when the next packet is; the
// zero time if there is none.
func (n *Network) forward(now time.Time) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.queue) > 0 {
		if next := n.queue[0].due; next.After(now) {
			return next
		}
		d := heap.Pop(&n.queue).(*datagram)
		if d.inCore {
			d.inCore = false
			n.carryLocked(d, d.to.down, d.due) // not now: a late timer delays nothing further
			continue
		}
		d.deliver()
	}
	return time.Time{}
}

// deliver hands d to its socket. The network's lock is held.
func (d *datagram) deliver() {
	t := &d.pair.traffic
	if d.from != d.to && (d.from.cut || d.to.cut) {
		t.Cut++
		return
	}
	c := d.to.ports[d.dst.Port()]
	switch {
	case c == nil || !c.accepts(d):
		t.NoSocket++
	case !c.push(d):
		t.Overflow++
	default:
		t.Arrived++
	}
}

// A dueQueue is a heap of the packets on their way, the one due first on top.
type dueQueue []*datagram

func (q dueQueue) Len() int { return len(q) }
func (q dueQueue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].order < q[j].order
	}
	return q[i].due.Before(q[j].due)
}
func (q dueQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *dueQueue) Push(x any)   { *q = append(*q, x.(*datagram)) }
func (q *dueQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return d
}
