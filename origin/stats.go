package origin

import "github.com/deltacdn/delta/internal/receive"

// Stats is a snapshot of what came from publishers in sessions of Delta's own. The
// counters never fall.
type Stats struct {
	Publishers int    // now
	Packets    uint64 // that came, repairs included
	Bytes      uint64 // in these, headers included
	Repairs    uint64 // of these, by retransmission (RFC 4588)
	// Dropped counts packets that were not taken, by reason. "not authentic" are those
	// that came twice, too.
	Dropped map[string]uint64
}

// Stats returns a snapshot.
func (o *Origin) Stats() Stats {
	o.mu.Lock()
	sum, publishers := o.past, 0
	for s := range o.sessions {
		if own := s.own.Load(); own != nil {
			sum.Add(own.Stats())
			publishers++
		}
	}
	o.mu.Unlock()
	st := Stats{Publishers: publishers, Packets: sum.Packets, Bytes: sum.Bytes, Repairs: sum.Repairs, Dropped: make(map[string]uint64)}
	for i, n := range sum.Dropped {
		if n > 0 {
			st.Dropped[receive.Drop(i).String()] = n
		}
	}
	return st
}

func (o *Origin) add(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions[s] = struct{}{}
}

// remove forgets a session, but for what it received.
func (o *Origin) remove(s *session, received receive.Stats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sessions, s)
	o.past.Add(received)
}
