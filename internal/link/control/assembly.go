package control

import "time"

// receiver puts messages together from parts that come in any order, and more
// than once.
type receiver struct {
	seen    set
	pending map[uint64]*assembly // by the sequence number of the first part
	ack     bool                 // owed
}

// assembly is a message of which some parts have come.
type assembly struct {
	parts [][]byte
	have  int
	since time.Time
}

// take returns the message that a part completes, nil if none. What came before
// is acknowledged again: the acknowledgement may have been lost.
func (r *receiver) take(now time.Time, p part) ([]byte, error) {
	r.ack = true
	before := r.seen.next
	if !r.seen.add(p.seq) {
		return nil, nil
	}
	if p.count == 1 {
		r.sweep(before)
		return p.data, nil
	}
	first := p.seq - p.index
	a := r.pending[first]
	if a == nil {
		a = &assembly{parts: make([][]byte, p.count), since: now}
		r.pending[first] = a
	}
	if int(p.count) != len(a.parts) {
		r.sweep(before)
		return nil, errMessage // not of one message
	}
	a.parts[p.index] = append([]byte{}, p.data...)
	if a.have++; a.have < len(a.parts) {
		r.sweep(before)
		return nil, nil
	}
	delete(r.pending, first)
	r.sweep(before)
	var whole []byte
	for _, data := range a.parts {
		whole = append(whole, data...)
	}
	return whole, nil
}

// sweep drops what cannot become whole, since its numbers went to other messages,
// once there are no more gaps before its end. So pending has parts of the window
// and a message only.
func (r *receiver) sweep(before uint64) {
	if r.seen.next == before {
		return
	}
	for first, a := range r.pending {
		if first+uint64(len(a.parts)) <= r.seen.next {
			delete(r.pending, first)
		}
	}
}

// stalled reports whether the rest of a message does not come.
func (r *receiver) stalled(now time.Time) bool {
	for _, a := range r.pending {
		if now.Sub(a.since) > stalledAfter {
			return true
		}
	}
	return false
}
