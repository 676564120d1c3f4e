// Package route chooses the node that a stream is fetched from. It is a pure
// function of what is known: it measures nothing, asks nobody and has no clock.
package route

import (
	"cmp"
	"hash/fnv"
	"io"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A Candidate is a node that a stream may be fetched from.
type Candidate struct {
	Entry cdn.Entry // of the stream at that node; of a relay without it: who and where it is
	// Has: the node has the stream. Otherwise it is a relay that would fetch it.
	Has bool
	// Distance is how far the node is from the origin of the stream, one way, as it
	// announces; Far: it does not say.
	Distance time.Duration
	Far      bool
	RTT      time.Duration // measured; 0: not known
	Load     float64       // of the node, 0 to 1; 1: it is full
	Draining bool
}

// IsOrigin reports whether the node is an origin of the stream.
func (c Candidate) IsOrigin() bool { return c.Has && c.Entry.Hops == 0 && len(c.Entry.Path) == 0 }

// A Requester is the node that wants a stream.
type Requester struct {
	Node   cdn.NodeID
	Stream cdn.StreamID
	// Serves: it gives the stream to other nodes, too.
	Serves bool
	// Distance is how far it is from the stream's origin, as it announces itself;
	// Far: it does not know.
	Distance time.Duration
	Far      bool
	// Through are the nodes that want the stream of the requester: they cannot give it.
	Through []cdn.NodeID
}

const (
	// MaxHops is how many nodes may stand between a publisher and the node that a
	// stream is fetched from.
	MaxHops = 8

	hopCost   = 2 * time.Millisecond  // of each node between the publisher and the candidate
	loadCost  = 20 * time.Millisecond // of a full node; half of the load, a quarter
	fetchCost = 10 * time.Millisecond // of a node that has to fetch the stream first
	unknown   = 50 * time.Millisecond // one way, where nothing was measured or announced
	// alike is by how much costs may differ and yet be settled by a hash, so that
	// neighbours choose the same node.
	alike = 5 * time.Millisecond
	// step is to how much distances are rounded where nodes are put in order: what is
	// measured differs a little each time.
	step = 5 * time.Millisecond
	// near is the distance from which on it counts that a copy of the stream is carried
	// so far: half of what is beyond it. So one node of a region fetches a stream from
	// afar, and its neighbours have it from that one.
	near = 5 * time.Millisecond
	// grain is to how much what is measured is rounded.
	grain = 100 * time.Microsecond
)

// Cost says how good a candidate is: how old media is when it comes, and what it
// costs others.
func Cost(c Candidate) time.Duration {
	way := oneWay(c.RTT).Round(grain)
	cost := c.fromOrigin().Round(grain) + way + max(way-near, 0)/2 +
		time.Duration(c.hops())*hopCost + time.Duration(c.Load*c.Load*float64(loadCost))
	if !c.Has {
		cost += fetchCost
	}
	return cost
}

func oneWay(rtt time.Duration) time.Duration {
	if rtt <= 0 {
		return unknown
	}
	return rtt / 2
}

// fromOrigin is how old media is that the candidate has.
func (c Candidate) fromOrigin() time.Duration {
	switch {
	case c.IsOrigin():
		return 0
	case c.Has && c.Entry.Latency > 0:
		return c.Entry.Latency
	case c.Far:
		return unknown
	}
	return c.Distance
}

func (c Candidate) hops() int {
	if !c.Has {
		return 1 // at least
	}
	return max(c.Entry.Hops, len(c.Entry.Path))
}

// Choose returns the candidates that a may fetch the stream from, the best first.
// Those that the request came through, that have the stream through a, or that are too far
// from the publisher are left out. So are those that are full or leaving, unless there
// is nobody else: they say no, and perhaps who has room.
func Choose(a Requester, all []Candidate) []Candidate {
	var may, busy []Candidate
	closed := originsClosed(all)
	for _, c := range all {
		switch {
		case !a.may(c), closed && !c.Has: // it could not fetch the stream either
		case c.busy():
			busy = append(busy, c)
		default:
			may = append(may, c)
		}
	}
	if len(may) == 0 {
		may = busy
	}
	may, last := a.spareOrigins(may)
	return append(a.order(may), a.order(last)...)
}

func (c Candidate) busy() bool { return c.Load >= 1 || c.Draining }

// originsClosed reports whether the stream has origins, and all of them are full or
// leaving.
func originsClosed(all []Candidate) bool {
	origins, open := 0, 0
	for _, c := range all {
		if c.IsOrigin() {
			origins++
			if !c.busy() {
				open++
			}
		}
	}
	return origins > 0 && open == 0
}

// may reports whether a may fetch the stream from c.
func (a Requester) may(c Candidate) bool {
	id := c.Entry.Node
	switch {
	case id == a.Node, slices.Contains(a.Through, id):
		return false
	case slices.Contains(c.Entry.Path, a.Node), c.hops() >= MaxHops:
		return false
	case c.Has || !a.Serves:
		return true
	}
	// Of relays without the stream each asks only those that come ahead of it in an
	// order that all agree on: so they cannot wait for each other.
	return a.rank().compare(c.rank(a.Stream)) > 0
}

// A rank is a relay's place in the order in which relays without a stream fetch it.
type rank struct {
	steps int64
	hash  uint64
}

func (r rank) compare(s rank) int {
	return cmp.Or(cmp.Compare(r.steps, s.steps), cmp.Compare(r.hash, s.hash))
}

const farSteps = 1 << 40 // of those that do not know how far they are

func steps(d time.Duration, far bool) int64 {
	if far {
		return farSteps
	}
	return int64(d / step)
}

func (a Requester) rank() rank { return rank{steps(a.Distance, a.Far), Hash(a.Stream, a.Node)} }

func (c Candidate) rank(id cdn.StreamID) rank {
	return rank{steps(c.Distance, c.Far), Hash(id, c.Entry.Node)}
}

// Hash is the number by which nodes that are alike are put in order for a stream.
func Hash(id cdn.StreamID, node cdn.NodeID) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, string(id)) // it does not fail
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, string(node))
	sum := h.Sum64()
	sum ^= sum >> 33 // FNV's high bits depend little on the last characters
	sum *= 0xff51afd7ed558ccd
	return sum ^ sum>>33
}

// spareOrigins splits what an edge is offered, where a relay is not much worse than the
// origin: relays of that kind come first, and the origin after them.
func (a Requester) spareOrigins(all []Candidate) (first, last []Candidate) {
	const more = 20 * time.Millisecond
	direct := time.Duration(-1)
	for _, c := range all {
		if cost := Cost(c); c.IsOrigin() && (direct < 0 || cost < direct) {
			direct = cost
		}
	}
	if a.Serves || direct < 0 {
		return all, nil
	}
	for _, c := range all {
		if !c.IsOrigin() && Cost(c) <= direct+direct/2+more {
			first = append(first, c)
		} else {
			last = append(last, c)
		}
	}
	return first, last
}

// order puts candidates in order of their costs, those that are alike in an order that
// neighbours agree on.
func (a Requester) order(all []Candidate) []Candidate {
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(x, y Candidate) int {
		return cmp.Or(
			cmp.Compare(Cost(x), Cost(y)), cmp.Compare(Hash(a.Stream, x.Entry.Node), Hash(a.Stream, y.Entry.Node)),
		)
	})
	limit := Cost(all[0]) + alike
	n := 0
	for n < len(all) && Cost(all[n]) <= limit {
		n++
	}
	slices.SortStableFunc(all[:n], func(x, y Candidate) int {
		return cmp.Or(
			yesFirst(x.Has, y.Has), cmp.Compare(x.hops(), y.hops()),
			cmp.Compare(Hash(a.Stream, x.Entry.Node), Hash(a.Stream, y.Entry.Node)),
		)
	})
	return all
}

func yesFirst(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

const (
	// A node is left for one whose cost is so much less, by both measures, for
	// moveAfter.
	movePart  = 5 // a fifth
	moveLeast = 10 * time.Millisecond
	moveAfter = 30 * time.Second
)

// Better reports whether cost is so much less than now that it is worth a move.
func Better(cost, now time.Duration) bool {
	return cost <= now-now/movePart && cost <= now-moveLeast
}

// A Watch finds out when a node has been better than the one in use for long enough.
// The zero value is ready to use.
type Watch struct {
	node  cdn.NodeID
	since time.Time
}

// Look takes the best candidate at a time, with the cost of the node in use, and
// reports whether to move to it.
func (w *Watch) Look(at time.Time, best Candidate, now time.Duration) bool {
	if !Better(Cost(best), now) {
		*w = Watch{}
		return false
	}
	if w.node != best.Entry.Node {
		*w = Watch{best.Entry.Node, at}
	}
	return at.Sub(w.since) >= moveAfter
}

// LeastLoaded compares candidates for those who cannot be served where they asked: one
// that has the stream comes first, and then one that has more room.
func LeastLoaded(x, y Candidate) int {
	return cmp.Or(yesFirst(x.Has, y.Has), cmp.Compare(x.Load, y.Load), cmp.Compare(x.Entry.Node, y.Entry.Node))
}
