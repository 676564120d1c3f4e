package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// This is what a node is sent of the layers that it wants, where the path to it does not
// carry all of them.

// A Share is what one track of video takes of the path to a node.
type Share struct {
	Track *cdn.Track
	// Costs are what the track takes if its layers up to each one may be sent, the lowest
	// first, in bits a second with headers. A layer beyond what the node wants adds nothing.
	Costs []float64
	// Held: some of its layers are held back.
	Held bool
}

// Shares returns what the tracks of video take, as the node wants them and has wanted them
// since they were bounded, and what all else takes, in bits a second with headers.
func (s *Set) Shares(now time.Time) (all []Share, rest float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.started {
		return nil, 0
	}
	var seen []*cdn.Track
	for _, snd := range s.senders {
		t := snd.line.Track
		switch {
		case slices.Contains(seen, t):
		case snd.video:
			seen = append(seen, t)
			all = append(all, Share{Track: t, Costs: s.costs(now, t), Held: slices.ContainsFunc(t.Layers(), s.holds)})
		default:
			rest += takes(snd.feed.layer)
		}
	}
	return all, rest
}

// costs returns a track's Share.Costs.
func (s *Set) costs(now time.Time, t *cdn.Track) []float64 {
	order := ranked(t)
	top := -1 // the highest layer that the node wants
	for i, l := range order {
		if s.claims(l) && hasMedia(now, l) {
			top = i
		}
	}
	costs := make([]float64, len(order))
	below, highest := 0.0, 0.0 // of the layers that the node asks for, and that are lower
	for i, l := range order {
		switch cost := takes(l); {
		case !hasMedia(now, l) || i > top:
			costs[i] = costs[max(i-1, 0)]
		case s.asks(l):
			costs[i] = below + cost
			below, highest = costs[i], cost
		case s.holds(l): // viewers will come from the one below, which comes for a while yet
			costs[i] = below + min(cost, max(cost-highest, 0)+overlap*cost)
		default: // it is sent only if every higher layer that the node wants is held back
			costs[i] = below + cost
		}
	}
	return costs
}

// overlap is what a layer may need more than it costs, as a part of that, to take the place of
// the one below.
const overlap = 0.35

// claims reports whether the node wants a layer, or has wanted it since that is held back.
func (s *Set) claims(l *cdn.Layer) bool {
	return s.asks(l) || slices.ContainsFunc(s.senders, func(snd *Sender) bool {
		return snd.feed.layer == l && snd.stopped.held && snd.stopped.missed
	})
}

// takes returns what a layer takes on the path, in bits a second.
func takes(l *cdn.Layer) float64 { return max(l.Cost().Bitrate, cost(l)) }

// Bound has the lowest layers of a track sent at most; 0: none. It reports whether that
// changes anything.
func (s *Set) Bound(now time.Time, t *cdn.Track, layers int) (changed bool) {
	s.change()
	defer s.mu.Unlock()
	order := ranked(t)
	for _, snd := range s.senders {
		if snd.line.Track != t {
			continue
		}
		held := slices.Index(order, snd.feed.layer) >= layers
		if held && !snd.stopped.held {
			snd.keepRepeat()
		}
		changed = changed || snd.stopped.held != held
		snd.stopped.held = held
		snd.stopped.missed = held && (snd.stopped.missed || s.asks(snd.feed.layer))
	}
	if changed && s.started && !s.closed {
		s.applyWanted(now)
		s.wakeAt(now)
	}
	return changed
}

// holds reports whether a layer is held back since the path does not carry it.
func (s *Set) holds(l *cdn.Layer) bool {
	return slices.ContainsFunc(s.senders, func(snd *Sender) bool { return snd.feed.layer == l && snd.stopped.held })
}

// HeldBack reports whether the sender sends nothing since the path to the node does not
// carry it.
func (s *Sender) HeldBack() bool {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	return s.stopped.held
}
