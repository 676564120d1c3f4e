package relay

import (
	"cmp"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/route"
)

const (
	// lookEvery is the interval at which a better upstream is looked for, shortened by up
	// to a fifth.
	lookEvery = 5 * time.Second
	// A stream leaves a node that drains within leaveWithin. If it cannot, it is tried
	// again after stillLeaving.
	leaveWithin  = 250 * time.Millisecond
	stillLeaving = time.Second
	// avoidFor is how long a stream is not moved to a node after a move to it failed: one
	// that has died may stay in the directory for as long.
	avoidFor = 20 * time.Second
)

// A scout decides when to look for another upstream than the one in use, and which of
// those found to move to. It does no I/O and reads no clock. While busy is set it belongs
// to the goroutine that looks.
type scout struct {
	jitter  func(below time.Duration) time.Duration
	regular time.Time // the next look for a better one
	retry   time.Time // the next look if the one in use is leaving
	busy    bool      // somebody looks, or moves the stream
	watch   route.Watch
	avoided map[string]time.Time // names or places of nodes to which a move failed, and until when
}

func newScout(now time.Time, jitter func(time.Duration) time.Duration) scout {
	s := scout{jitter: jitter}
	s.regular = now.Add(s.interval())
	return s
}

func (s *scout) interval() time.Duration { return lookEvery - s.jitter(lookEvery/5) }

// due reports whether to look for another upstream now, and when to ask again. leaving:
// the one in use is.
func (s *scout) due(now time.Time, leaving bool) (yes bool, next time.Time) {
	at := &s.regular
	if leaving {
		at = &s.retry
	} else {
		s.retry = time.Time{}
	}
	switch {
	case s.busy:
		return false, now.Add(never)
	case now.Before(*at):
		return false, *at
	case leaving:
		s.retry = now.Add(stillLeaving)
	default:
		s.regular = now.Add(s.interval())
	}
	s.busy = true
	return true, *at
}

// A choice is what a scout chooses from.
type choice struct {
	now     cdn.Entry // the upstream in use
	leaving bool      // it is
	cost    time.Duration
	// ranked are the nodes that the stream may come from, the best first.
	ranked []route.Candidate
	// reaches reports whether a node can be reached, and whether that is known.
	reaches func(cdn.Entry) (yes, known bool)
	// mayMove reports whether this node may move a stream to a better one.
	mayMove func() bool
}

// choose returns the node to move to, and false if the one in use is good enough.
func (s *scout) choose(at time.Time, c choice) (to cdn.Entry, yes bool) {
	if c.leaving {
		return s.replacement(at, c)
	}
	for _, n := range c.ranked {
		switch {
		case n.Entry.Node == c.now.Node:
			s.watch = route.Watch{}
			return to, false // none comes ahead of it
		case s.avoids(at, n.Entry, c.reaches):
			continue
		case c.cost < 0 || !s.watch.Look(at, n, c.cost) || !c.mayMove():
			return to, false
		}
		return n.Entry, true
	}
	return to, false
}

// replacement returns the best node for a stream whose upstream is leaving. Once a move
// has failed, those that are known to be reached come first: the directory still has
// those that are gone.
func (s *scout) replacement(at time.Time, c choice) (to cdn.Entry, yes bool) {
	for _, n := range c.ranked {
		if n.Entry.Node == c.now.Node || n.Draining || slices.Contains(n.Entry.Path, c.now.Node) || s.avoids(at, n.Entry, c.reaches) {
			continue
		}
		if reached, known := c.reaches(n.Entry); len(s.avoided) == 0 || reached && known {
			return n.Entry, true
		}
		if !yes {
			to, yes = n.Entry, true
		}
	}
	return to, yes
}

// avoids reports whether a node is out of reach, or a move to it has failed lately.
func (s *scout) avoids(at time.Time, to cdn.Entry, reaches func(cdn.Entry) (yes, known bool)) bool {
	if yes, known := reaches(to); known && !yes {
		return true
	}
	return at.Before(s.avoided[nameOf(to)])
}

// failed notes that a move to a node failed.
func (s *scout) failed(at time.Time, to cdn.Entry) {
	if s.avoided == nil {
		s.avoided = make(map[string]time.Time)
	}
	s.avoided[nameOf(to)] = at.Add(avoidFor)
}

func nameOf(e cdn.Entry) string { return cmp.Or(string(e.Node), e.Place()) }
