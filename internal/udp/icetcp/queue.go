package icetcp

import (
	"encoding/binary"
	"time"
)

const (
	// MaxWaiting is how many bytes wait for a client at most. What there is no room
	// for is dropped.
	MaxWaiting = 256 << 10
	// MaxWait is how long a packet waits for a client. Then it is dropped.
	MaxWait = time.Second
	// mostRoom, leastRoom and firstRoom are how many bytes may wait while there is room
	// for more media: what waits for a slow client has to wait where it can still be left
	// out. See queue.adapt.
	mostRoom  = 32 << 10
	leastRoom = 2 << 10
	firstRoom = 8 << 10
	// chunk is how much is written at once.
	chunk = 16 << 10
	// keptQueue is how large the memory of an empty queue may be.
	keptQueue = 64 << 10
)

// A queue holds the packets, with their lengths, that wait for a client.
type queue struct {
	bytes   []byte
	packets []queued
	taken   int    // bytes that were taken and are not written yet
	oldest  queued // of what was taken

	room int       // how many bytes may wait while there is room; 0: firstRoom
	cut  time.Time // when it was last reduced
}

type queued struct {
	size int // with the length ahead of it
	at   time.Time
}

// waiting returns how many bytes wait.
func (q *queue) waiting() int { return len(q.bytes) + q.taken }

// hasRoom reports whether little waits.
func (q *queue) hasRoom() bool { return q.waiting() < q.bound() }

func (q *queue) bound() int {
	if q.room == 0 {
		return firstRoom
	}
	return q.room
}

// adapt learns from how long a packet took until it was written, or dropped, how much may
// wait. Packets that take more than half of MaxWait would soon be dropped, though there was
// room for them: less has room from then on, once for all that waits at a time. Where
// packets take little, more has room.
func (q *queue) adapt(now time.Time, p queued) {
	switch wait := now.Sub(p.at); {
	case wait > MaxWait/2 && p.at.After(q.cut):
		q.room, q.cut = max(leastRoom, q.bound()/2), now
	case wait < MaxWait/8:
		q.room = min(mostRoom, 2*q.bound())
	}
}

// put appends a packet, and reports whether there was room. Where there is not enough,
// what has waited for too long makes room; it returns how many packets that were.
func (q *queue) put(now time.Time, packet []byte) (ok bool, late int) {
	size := headerLen + len(packet)
	if q.waiting()+size > MaxWaiting {
		late = q.expire(now)
	}
	if q.waiting()+size > MaxWaiting {
		return false, late
	}
	q.bytes = binary.BigEndian.AppendUint16(q.bytes, uint16(len(packet)))
	q.bytes = append(q.bytes, packet...)
	q.packets = append(q.packets, queued{size, now})
	return true, late
}

// take moves about a chunk of what waits to out, whole packets, which count as waiting
// until the next call. It returns how many others had waited for too long.
func (q *queue) take(now time.Time, out []byte) (_ []byte, late int) {
	if q.taken > 0 {
		q.adapt(now, q.oldest)
	}
	late = q.expire(now)
	size, n := 0, 0
	for ; n < len(q.packets) && size < chunk; n++ {
		size += q.packets[n].size
	}
	if n > 0 {
		q.oldest = q.packets[0]
	}
	out = append(out, q.bytes[:size]...)
	q.drop(size, n)
	q.taken = size
	return out, late
}

// expire drops what has waited for too long, and returns how many packets that were.
func (q *queue) expire(now time.Time) (late int) {
	size := 0
	for ; late < len(q.packets) && now.Sub(q.packets[late].at) > MaxWait; late++ {
		size += q.packets[late].size
	}
	if late > 0 {
		q.adapt(now, q.packets[0])
	}
	q.drop(size, late)
	return late
}

// drop takes the first packets off the queue, which are so many bytes.
func (q *queue) drop(size, packets int) {
	if packets == 0 {
		return
	}
	q.bytes = q.bytes[:copy(q.bytes, q.bytes[size:])]
	q.packets = q.packets[:copy(q.packets, q.packets[packets:])]
	if len(q.bytes) == 0 && cap(q.bytes) > keptQueue {
		q.bytes, q.packets = nil, nil
	}
}
