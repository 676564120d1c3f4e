package main

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"time"
)

// A flow is what comes to one viewer, read from the packets' clear headers: whether
// numbers are missing or come twice, and whether a frame is left out, which a server
// that closes the gap in the numbers cannot hide, since the time goes on.
type flow struct {
	mu    sync.Mutex
	lines [2]line // video and sound
}

// The payload types and clock steps of the benchmark's stream, as newPeer's
// PeerConnections negotiate them.
const (
	videoType, soundType = 96, 111
	videoStep, soundStep = 90000 / fps, 960
)

// steadyAfter is how many frames have to follow each other at the stream's pace until
// one that does not is an error. A viewer begins faster than the stream.
const steadyAfter = 30

// flowCount is what was counted of a flow.
type flowCount struct {
	packets    uint64
	missing    uint64 // numbers that never came
	duplicates uint64 // numbers that came again
	jumps      uint64 // times that frames are left out between two, or none has come of late
}

func (f *flow) note(b []byte) {
	kind := b[1] & 0x7f
	if kind != videoType && kind != soundType {
		return // repairs
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind == videoType {
		f.lines[0].note(b, videoStep)
	} else {
		f.lines[1].note(b, soundStep)
	}
}

// silence is how long a line may be without a frame. Who sends may be held up, too.
const silence = 5 * time.Second

// count returns the sum of both lines.
func (f *flow) count(now time.Time) (sum flowCount) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.lines {
		c := f.lines[i].flowCount
		sum.packets += c.packets
		sum.missing += c.missing
		sum.duplicates += c.duplicates
		sum.jumps += c.jumps
		if f.lines[i].begun && now.Sub(f.lines[i].at) > silence {
			sum.jumps++
		}
	}
	return sum
}

// A line is one stream of RTP. A number is missing when 64 more have come.
type line struct {
	flowCount
	begun  bool
	newest uint16
	seen   uint64    // bit i: newest-i has come
	ts     uint32    // of newest
	at     time.Time // when a frame last began
	steady int       // frames in a row at the stream's pace
}

func (l *line) note(b []byte, step uint32) {
	seq, ts := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])
	l.packets++
	if !l.begun {
		l.begun, l.newest, l.seen, l.ts = true, seq, ^uint64(0), ts
		l.at = time.Now()
		return
	}
	ahead := int16(seq - l.newest)
	if ahead <= 0 {
		l.old(-int(ahead))
		return
	}
	l.advance(int(ahead))
	l.newest = seq
	passed := ts - l.ts
	if passed == 0 {
		return
	}
	l.ts, l.at = ts, time.Now()
	switch passed {
	case step:
		l.steady++
	default:
		if l.steady >= steadyAfter {
			l.jumps++
		}
		l.steady = 0
	}
}

// old notes a packet that comes after later ones.
func (l *line) old(ago int) {
	switch {
	case ago >= 64: // it was counted as missing
		l.missing--
	case l.seen>>ago&1 == 1:
		l.duplicates++
	default:
		l.seen |= 1 << ago
	}
}

// advance makes room for n more numbers, of which the last has come.
func (l *line) advance(n int) {
	if n >= 64 {
		l.missing += uint64(64-bits.OnesCount64(l.seen)) + uint64(n-64)
		l.seen = 1
		return
	}
	gone := l.seen >> (64 - n)
	l.missing += uint64(n - bits.OnesCount64(gone))
	l.seen = l.seen<<n | 1
}
