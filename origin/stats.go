package origin

import "github.com/deltacdn/delta/internal/receive"

// Stats is a snapshot of what was received from publishers in sessions of Delta's own.
// Counters never decrease.
type Stats struct {
	Publishers int    // now
	Packets    uint64 // received, repairs included
	Bytes      uint64 // in those packets, headers included
	Repairs    uint64 // of those packets, retransmissions (RFC 4588)
	// Restored counts packets that were lost, and that redundancy (RFC 2198) or forward error
	// correction ([FEC]) brought.
	Restored uint64
	// Dropped counts packets that were dropped, by reason. Those that came twice count as
	// "not authentic".
	Dropped map[string]uint64
}

// Stats returns a snapshot.
func (o *Origin) Stats() Stats {
	o.mu.Lock()
	sum, publishers := o.past, 0
	for s := range o.sessions {
		if got, ok := s.stats(); ok {
			sum.Add(got)
			publishers++
		}
	}
	o.mu.Unlock()
	st := Stats{Publishers: publishers, Packets: sum.Packets, Bytes: sum.Bytes, Repairs: sum.Repairs, Restored: sum.Restored, Dropped: make(map[string]uint64)}
	for i, n := range sum.Dropped {
		if n > 0 {
			st.Dropped[receive.Drop(i).String()] = n
		}
	}
	return st
}

func (o *Origin) add(s *session) {
	s.count = o.node.Measure(s.measure)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions[s] = struct{}{}
}

// remove removes a session, and keeps the sum of what it received.
func (o *Origin) remove(s *session, received receive.Stats) {
	s.received.Store(&received)
	s.count()
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sessions, s)
	o.past.Add(received)
}
