package netem

import (
	"math"
	"time"
)

// The constants of a flow. It sends segments of 1,500 bytes and reacts as Reno
// does (RFC 5681): slow start, congestion avoidance, halving at a loss that later
// segments show, and one segment after a timeout.
const (
	segment       = 1500
	initialWindow = 10 // RFC 6928
	duplicates    = 3  // segments that arrive later until one counts as lost
	timeout       = time.Second
	leastRTT      = 2 * time.Millisecond
)

// flows are the TCP-like flows of a link.
type flows struct {
	all []flow
}

func (f *flows) running() bool { return len(f.all) > 0 }

// Transfers returns how many TCP-like flows were not in a pause when the last packet entered.
func (l *Link) Transfers() (n int) {
	for i := range l.flows.all {
		if l.flows.all[i].window > 0 {
			n++
		}
	}
	return n
}

// advance lets the flows do, in order of time, what they do until now.
func (f *flows) advance(l *Link, now time.Time) {
	f.resize(l, now)
	for {
		next := f.first()
		if next == nil || next.next.After(now) {
			return
		}
		next.step(l, next.next)
	}
}

// resize starts the flows that the path has gained, and ends those that it lost.
func (f *flows) resize(l *Link, now time.Time) {
	want := l.path.TCP
	if l.path.Rate <= 0 {
		want = 0
	}
	for len(f.all) < want {
		first := flow{next: now.Add(draw(100*time.Millisecond, l.rng))}
		f.all = append(f.all, first)
	}
	f.all = f.all[:want]
}

// first returns the flow that has to do something first, or nil.
func (f *flows) first() *flow {
	var first *flow
	for i := range f.all {
		if first == nil || f.all[i].next.Before(first.next) {
			first = &f.all[i]
		}
	}
	return first
}

// A flow is one TCP-like sender. Its receiver acknowledges each segment, and the
// acknowledgements come back over a path without limits.
type flow struct {
	next      time.Time // when it has to do something
	window    float64   // segments
	threshold float64   // of slow start
	flight    []sent    // in order of sending
	sent      uint64    // segments so far, the number of the next
	recovered uint64    // losses of segments below this belong to one that is known
	left      int       // bytes of the transfer that are not acknowledged; if endless, unused
}

// A sent is a segment on its way.
type sent struct {
	number  uint64
	back    time.Time // when its acknowledgement arrives; if lost, when it times out
	lost    bool
	skipped int // acknowledgements of later segments
}

// step does what is due at now: a transfer begins, or an acknowledgement or a
// timeout is handled.
func (f *flow) step(l *Link, now time.Time) {
	switch i := f.due(); {
	case f.window == 0:
		f.begin(l)
	case i >= 0 && f.flight[i].lost:
		f.timedOut()
	case i >= 0:
		f.acknowledged(i)
	}
	if f.window > 0 && l.path.TCPBytes > 0 && f.left <= 0 {
		f.pause(l, now)
		return
	}
	f.send(l, now)
	f.next = now.Add(time.Hour)
	if i := f.due(); i >= 0 {
		f.next = f.flight[i].back
	}
}

// due returns the segment whose acknowledgement or timeout is next, -1 if none is
// on its way.
func (f *flow) due() int {
	next := -1
	for i := range f.flight {
		if next < 0 || f.flight[i].back.Before(f.flight[next].back) {
			next = i
		}
		if !f.flight[i].lost {
			break // those behind come back later
		}
	}
	return next
}

func (f *flow) begin(l *Link) {
	f.window, f.threshold, f.recovered = initialWindow, math.Inf(1), f.sent
	f.left = l.path.TCPBytes
}

// pause ends a transfer; the next begins after a random pause.
func (f *flow) pause(l *Link, now time.Time) {
	f.window, f.flight = 0, f.flight[:0]
	f.next = now.Add(time.Duration(l.rng.ExpFloat64() * float64(l.path.TCPPause)))
}

// acknowledged takes the acknowledgement of segment i of the flight. Those ahead
// of it have been lost, and count as lost when it is the third that shows it.
func (f *flow) acknowledged(i int) {
	f.left -= segment
	if f.window < f.threshold {
		f.window++
	} else {
		f.window += 1 / f.window
	}
	kept := f.flight[:0]
	for j := range f.flight {
		s := f.flight[j]
		if j < i {
			s.skipped++
		}
		if j == i || s.skipped >= duplicates {
			if j != i && s.number >= f.recovered {
				f.threshold = max(f.window/2, 2)
				f.window, f.recovered = f.threshold, f.sent
			}
			continue
		}
		kept = append(kept, s)
	}
	f.flight = kept
}

// timedOut begins anew: nothing that is on its way counts anymore.
func (f *flow) timedOut() {
	f.threshold = max(f.window/2, 2)
	f.window, f.recovered = 1, f.sent
	f.flight = f.flight[:0]
}

// send fills the window.
func (f *flow) send(l *Link, now time.Time) {
	for len(f.flight) < int(f.window) {
		if l.path.TCPBytes > 0 && len(f.flight)*segment >= f.left {
			return
		}
		s := sent{number: f.sent}
		f.sent++
		out, ok := l.enqueue(now, segment)
		if lost := !ok || l.path.Loss > 0 && l.rng.Float64() < l.path.Loss; lost {
			s.lost, s.back = true, now.Add(timeout)
		} else {
			s.back = out.Add(max(2*l.path.Delay, leastRTT))
		}
		f.flight = append(f.flight, s)
	}
}
