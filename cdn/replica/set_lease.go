package replica

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Due returns when the next lease ends, and false if there is none. The time may be too
// early, never too late.
func (s *Set) Due() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.due, s.count > 0
}

// Ended returns the streams with announcements whose lease has ended, "" among them for
// the nodes themselves: at most n of them.
func (s *Set) Ended(n int) []cdn.StreamID {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.count == 0 || now.Before(s.due) {
		return nil
	}
	var ended []cdn.StreamID
	var next earliest
	for id, st := range s.streams {
		before := len(ended)
		for _, r := range st.records {
			if now.Before(r.ends) {
				next.add(r.ends)
			} else if len(ended) == before && len(ended) < n {
				ended = append(ended, id)
			}
		}
	}
	if len(ended) == 0 {
		s.due = next.at
	}
	return ended
}

// Lapse removes the announcements whose lease ended at proved or earlier: all that was
// announced until then has been taken, so they have not been renewed. The zero time
// proves nothing. Those that have been held for [Config].Hold are removed in any case.
// With streams given, only theirs are looked at; "" stands for the nodes themselves.
func (s *Set) Lapse(proved time.Time, streams ...cdn.StreamID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.purgeLocked(now)
	if s.count == 0 || now.Before(s.due) && proved.Before(s.due) {
		return
	}
	if len(streams) > 0 {
		for _, id := range streams {
			if st := s.streams[id]; st != nil {
				s.lapseLocked(id, st, proved, now)
			}
		}
		return
	}
	var next earliest
	for id, st := range s.streams {
		s.lapseLocked(id, st, proved, now)
		for _, r := range st.records {
			next.add(r.ends)
		}
	}
	s.due = next.at
}

func (s *Set) lapseLocked(id cdn.StreamID, st *stream, proved, now time.Time) {
	gone := false
	for node, r := range st.records {
		if !r.ends.After(proved) || !r.last.After(now) {
			s.dropLocked(st, Key{id, node}, now)
			gone = true
		}
	}
	if gone {
		st.tell()
	}
	s.closeLocked(id, st)
}

// purgeLocked forgets the graves whose time is over. It looks once a minute.
func (s *Set) purgeLocked(now time.Time) {
	if now.Sub(s.purged) < time.Minute {
		return
	}
	s.purged = now
	for k, g := range s.graves {
		if !g.until.After(now) {
			delete(s.graves, k)
		}
	}
}

// Excuse gives every announcement a whole lease from now on, since it could not be
// renewed while the engine was away; no more than [Config].Hold longer than it said.
// With streams given, only theirs have it; "" stands for the nodes themselves.
func (s *Set) Excuse(streams ...cdn.StreamID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, id := range streams {
		if st := s.streams[id]; st != nil {
			st.excuse(now)
		}
	}
	if len(streams) > 0 {
		return
	}
	for _, st := range s.streams {
		st.excuse(now)
	}
}

func (st *stream) excuse(now time.Time) {
	for _, r := range st.records {
		ends := now.Add(r.lease)
		if ends.After(r.last) {
			ends = r.last
		}
		if ends.After(r.ends) {
			r.ends = ends
		}
	}
}

// earliest is the earliest of some times; zero: of none.
type earliest struct{ at time.Time }

func (e *earliest) add(t time.Time) {
	if e.at.IsZero() || t.Before(e.at) {
		e.at = t
	}
}
