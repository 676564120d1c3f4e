package fanout

import "time"

// Resolution is how precisely a consumer is served at a time that it has asked for: those
// who have asked for nearly the same are served together, and what they send leaves
// together.
const Resolution = time.Millisecond

// An appointment is the time at which a member has asked to be served.
type appointment struct {
	tick    int64 // in units of Resolution since the worker's epoch
	place   int   // in the heap, from 1 on; 0: there is no appointment
	removed bool  // the member is, and makes no more
}

// appointments are those of one worker's members: a heap with the earliest first. A member
// has one at most. Its worker's mu guards it. In steady state it does not allocate.
type appointments[B Batch] struct {
	epoch time.Time // static
	heap  []*member[B]
}

// add makes an appointment for m, or moves it to an earlier time, and reports whether it
// is the first of all now.
func (a *appointments[B]) add(m *member[B], at time.Time) (first bool) {
	tick := int64((max(0, at.Sub(a.epoch)) + Resolution - 1) / Resolution)
	switch p := &m.appointment; {
	case p.removed, p.place != 0 && p.tick <= tick:
		return false
	case p.place == 0:
		a.heap = append(a.heap, m)
		p.place = len(a.heap)
		fallthrough
	default:
		p.tick = tick
		a.up(p.place)
	}
	return m.appointment.place == 1
}

// remove cancels the appointment of m, if there is one.
func (a *appointments[B]) remove(m *member[B]) {
	at := m.appointment.place
	if at == 0 {
		return
	}
	m.appointment.place = 0
	last := a.heap[len(a.heap)-1]
	a.heap[len(a.heap)-1] = nil
	a.heap = a.heap[:len(a.heap)-1]
	if last == m {
		return
	}
	a.put(last, at)
	a.up(at)
	a.down(last.appointment.place)
}

// take appends the members whose time has come to due. They have no appointment any more.
func (a *appointments[B]) take(due []*member[B]) []*member[B] {
	if len(a.heap) == 0 {
		return due
	}
	now := int64(time.Since(a.epoch) / Resolution)
	for len(a.heap) > 0 && a.heap[0].appointment.tick <= now {
		due = append(due, a.heap[0])
		a.remove(a.heap[0])
	}
	return due
}

// next returns the time of the first appointment, or zero.
func (a *appointments[B]) next() time.Time {
	if len(a.heap) == 0 {
		return time.Time{}
	}
	return a.epoch.Add(time.Duration(a.heap[0].appointment.tick) * Resolution)
}

// up moves the member at a place ahead of those with later times, down behind those with
// earlier ones.
func (a *appointments[B]) up(at int) {
	for m := a.heap[at-1]; at > 1; at /= 2 {
		above := a.heap[at/2-1]
		if above.appointment.tick <= m.appointment.tick {
			return
		}
		a.put(above, at)
		a.put(m, at/2)
	}
}

func (a *appointments[B]) down(at int) {
	m := a.heap[at-1]
	for {
		below := 2 * at
		if below > len(a.heap) {
			return
		}
		if below < len(a.heap) && a.heap[below].appointment.tick < a.heap[below-1].appointment.tick {
			below++
		}
		if a.heap[below-1].appointment.tick >= m.appointment.tick {
			return
		}
		a.put(a.heap[below-1], at)
		a.put(m, below)
		at = below
	}
}

func (a *appointments[B]) put(m *member[B], at int) {
	a.heap[at-1] = m
	m.appointment.place = at
}

// serveAt has m served at a time. See [Feed.Add].
func (w *worker[B]) serveAt(m *member[B], at time.Time) {
	w.mu.Lock()
	first := w.appointments.add(m, at)
	w.mu.Unlock()
	if first {
		w.signal()
	}
}

// forget cancels what m has asked for, and will.
func (w *worker[B]) forget(m *member[B]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.appointments.remove(m)
	m.appointment.removed = true
}
