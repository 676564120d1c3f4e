package emu

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/netem"
)

// A Packet is what an observer is told of one.
type Packet struct {
	At   time.Time     // when it entered
	Size int           // with the IP header, in bytes
	Wait time.Duration // until the wire was free
	Fate netem.Fate
}

// Stats count packets. They never decrease.
type Stats struct {
	Packets uint64        // that entered
	Bytes   uint64        // of them, with IP headers
	Passed  uint64        // that were written to the other end
	Lost    uint64        // by chance
	Dropped uint64        // because the queue was full
	Refused uint64        // that the other end's device did not take
	Late    time.Duration // the sum of the times by which they left after they were due
}

// A wire carries packets in one direction.
type wire struct {
	// static
	in, out int // devices
	wake    int // an eventfd

	// owned by run
	waiting queue
	entered uint64
	spare   [][]byte
	err     error // read after run

	mu       sync.Mutex
	link     *netem.Link
	observer func(Packet)
	counts   Stats
	stopped  bool
}

func newWire(in, out int, rng *rand.Rand) (*wire, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &wire{in: in, out: out, wake: wake, link: netem.NewLink(netem.Path{}, rng)}, nil
}

func (w *wire) close() { _ = unix.Close(w.wake) }

func (w *wire) set(p netem.Path) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link.SetPath(p)
}

func (w *wire) observe(f func(Packet)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observer = f
}

func (w *wire) stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// stop has run return.
func (w *wire) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	one := [8]byte{1} // in either byte order not 0
	if _, err := unix.Write(w.wake, one[:]); err != nil {
		panic(fmt.Sprintf("eventfd: %v", err)) // it is ours and open
	}
}

// run carries packets until stop is called.
func (w *wire) run() {
	for w.err == nil {
		w.deliver(time.Now())
		more := w.accept()
		switch {
		case w.ended():
			return
		case !more:
			w.sleep()
		}
	}
}

func (w *wire) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}

// sleep waits for a packet, for the time of the next that waits, or for stop.
func (w *wire) sleep() {
	files := []unix.PollFd{{Fd: int32(w.in), Events: unix.POLLIN}, {Fd: int32(w.wake), Events: unix.POLLIN}}
	var timeout *unix.Timespec
	if len(w.waiting) > 0 {
		t := unix.NsecToTimespec(max(0, time.Until(w.waiting[0].due)).Nanoseconds())
		timeout = &t
	}
	if _, err := unix.Ppoll(files, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		w.err = os.NewSyscallError("ppoll", err)
	}
}

// batch bounds how many packets are read until those that are due are written.
const batch = 32

// accept reads packets that have come, and reports whether there may be more.
func (w *wire) accept() bool {
	for range batch {
		b := w.buffer()
		n, err := unix.Read(w.in, b)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			w.spare = append(w.spare, b)
			return false
		case err != nil:
			w.err = os.NewSyscallError("read", err)
			return false
		}
		w.enter(time.Now(), b[:n])
	}
	return true
}

// enter has the model decide about a packet, whose buffer it keeps.
func (w *wire) enter(now time.Time, b []byte) {
	if len(b) == 0 || b[0]>>4 != 4 { // such as the kernel's search for IPv6 routers
		w.spare = append(w.spare, b)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := w.link.Wait(now)
	due, fate := w.link.Carry(now, max(0, len(b)-netem.Overhead))
	w.counts.Packets++
	w.counts.Bytes += uint64(len(b))
	switch fate {
	case netem.Lost:
		w.counts.Lost++
	case netem.QueueFull:
		w.counts.Dropped++
	case netem.Passed:
		w.entered++
		heap.Push(&w.waiting, waiting{due, w.entered, b})
	}
	if fate != netem.Passed {
		w.spare = append(w.spare, b)
	}
	if w.observer != nil {
		w.observer(Packet{now, len(b), wait, fate})
	}
}

// deliver writes the packets that are due.
func (w *wire) deliver(now time.Time) {
	for len(w.waiting) > 0 && !w.waiting[0].due.After(now) {
		p := heap.Pop(&w.waiting).(waiting) //nolint:errcheck // of our own queue
		_, err := unix.Write(w.out, p.bytes)
		w.mu.Lock()
		if err != nil {
			w.counts.Refused++
		} else {
			w.counts.Passed++
		}
		w.counts.Late += now.Sub(p.due)
		w.mu.Unlock()
		w.spare = append(w.spare, p.bytes)
	}
}

// maxPacket is more than any packet of devices with an MTU of 1500 bytes.
const maxPacket = 2048

// buffer returns one for a packet.
func (w *wire) buffer() []byte {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b[:maxPacket]
	}
	return make([]byte, maxPacket)
}

// A waiting packet leaves when it is due. Of equal times the first that entered is
// the first to leave.
type waiting struct {
	due    time.Time
	number uint64
	bytes  []byte
}

// queue is a heap.
type queue []waiting

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if c := q[i].due.Compare(q[j].due); c != 0 {
		return c < 0
	}
	return q[i].number < q[j].number
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(waiting)) } //nolint:errcheck // only waiting packets are pushed
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = waiting{}
	*q = old[:len(old)-1]
	return last
}
