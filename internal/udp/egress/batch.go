package egress

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/deltacdn/delta/internal/udp/icetcp"
)

// errFull: there was no room in the socket's buffer for as long as was waited.
var errFull = errors.New("egress: socket buffer is full")

const (
	arenaBytes = 64 << 10 // small enough to stay in the cache of a core
	maxRuns    = 256
)

// A Batch collects datagrams until [Batch.Flush]. One goroutine at a time uses
// it. In the steady state it does not allocate.
type Batch struct {
	socket *Socket
	kernel *kernel // nil: there is none
	single single

	arena []byte
	used  int
	runs  []gsoRun
	err   error // of a flush by Room, for Flush to return

	now   time.Time // zero: not known
	asked int       // how often since it was looked at
}

// NewBatch returns an empty batch.
func (s *Socket) NewBatch() *Batch { return s.newBatch(patience) }

// NewNonblockingBatch returns an empty batch whose flushes do not wait for room in the
// socket's buffer, for goroutines that have better things to do.
func (s *Socket) NewNonblockingBatch() *Batch { return s.newBatch(0) }

// patience is how long a flush waits for room in the socket's buffer: the network
// card may take longer for a burst than we do.
const patience = 10 * time.Millisecond

func (s *Socket) newBatch(patience time.Duration) *Batch {
	return &Batch{
		socket: s,
		kernel: newKernel(s, patience),
		single: newSingle(s),
		arena:  make([]byte, arenaBytes),
		runs:   make([]gsoRun, 0, maxRuns),
	}
}

// Room returns an empty slice with room for n bytes, to which the caller
// appends one datagram for [Batch.Add]. It is good until the next call of a
// method of b, and may be left unused. When b is full, Room flushes it.
func (b *Batch) Room(n int) []byte {
	if b.used+n > len(b.arena) || len(b.runs) == maxRuns {
		b.flush()
	}
	if n > len(b.arena) {
		return make([]byte, 0, n)
	}
	return b.arena[b.used : b.used : b.used+n]
}

// Add queues what the caller appended to [Batch.Room]'s slice. Datagrams are
// sent in the order in which they are added. One that outgrew its room is
// copied; one that is empty, or longer than UDP carries, is dropped. What goes to a
// TCP client does not wait for Flush.
func (b *Batch) Add(datagram []byte, to netip.AddrPort) {
	n := len(datagram)
	if n == 0 || n > 0xffff {
		b.socket.dropped.Add(1)
		return
	}
	if icetcp.Is(to) {
		b.sendTCP(datagram, to)
		return
	}
	if b.used == len(b.arena) || &datagram[0] != &b.arena[b.used] {
		copy(b.Room(n)[:n], datagram)
	}
	if to.Addr().Is4In6() {
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	}
	start := b.used
	b.used += n
	if last := len(b.runs) - 1; last >= 0 && b.runs[last].takes(to, n) {
		b.runs[last].add(n)
		return
	}
	b.runs = append(b.runs, gsoRun{to: to, bytes: b.arena[start:b.used], size: n})
}

// sendTCP hands a packet to the queue of its client, which copies it.
func (b *Batch) sendTCP(packet []byte, to netip.AddrPort) {
	if b.socket.tcp == nil {
		b.socket.dropped.Add(1)
		return
	}
	b.socket.tcp.Send(packet, to)
}

// nowFor is how often [Batch.Now] gives the same answer.
const nowFor = 16

// Now returns the time, or what it was before the last few calls: looking at the
// clock costs a fifth of what a small packet does.
func (b *Batch) Now() time.Time {
	if b.now.IsZero() || b.asked == nowFor {
		b.now, b.asked = time.Now(), 0
	}
	b.asked++
	return b.now
}

// Flush sends all that was added. When the socket's buffer is full and stays
// so for some milliseconds (of a nonblocking batch: when it is full), the rest is
// dropped; in mode [Single] Flush waits as the connection does. What cannot be
// sent is dropped, too, and harms nothing else. The only error is one that wraps
// [net.ErrClosed], of this flush or one by Room: the socket is closed.
func (b *Batch) Flush() error {
	b.flush()
	err := b.err
	b.err = nil
	return err
}

func (b *Batch) flush() {
	rest, err := b.runs, error(nil)
	if !b.socket.intercepts() {
		rest, err = b.kernel.send(rest)
	}
	if err == nil {
		rest, err = b.single.send(rest)
	}
	for i := range rest {
		b.socket.drop(rest[i].count(), err)
	}
	if isClosed(err) {
		b.err = err
	}
	b.runs, b.used, b.now = b.runs[:0], 0, time.Time{}
}

// isFull reports whether there was no room for a datagram, here or further down.
func isFull(err error) bool {
	return errors.Is(err, errFull) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOBUFS)
}

func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed)
}
