package cdn

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Capacity is how much a node can send. If a field is zero, the node learns it: when it
// falls behind, it admits no more viewers and nodes for some seconds, takes a little less
// than the rate of that time as its capacity, and then raises it in small steps. The more
// steps fail, the longer it waits between them.
type Capacity struct {
	Packets float64 // a second, out of the UDP port; packets of PeerConnections are not counted
}

const (
	// capacityWindow is the span over which the rate of packets is measured.
	capacityWindow = time.Second
	// A node that falls behind takes learnedShare of its highest rate within recentRates
	// as its capacity. Below leastLearned packets a second it learns nothing.
	learnedShare = 0.9
	recentRates  = time.Minute
	leastLearned = 1000
	// The learned capacity grows by the factor learnedGrowth at intervals. The first
	// interval is short, because many viewers that join at once overload a node that can
	// serve them later. Each failure makes the interval four times as long. Each growth
	// beyond the rate at which the node failed halves it.
	learnedGrowth = 1.05
	inUse         = 0.8 // a node that uses less of its capacity waits for at least a minute
	leastInterval = 2 * time.Second
	mostInterval  = time.Minute
	// forgotten is the learned capacity from which on it no longer limits anything.
	forgotten = 1e9
	// Reports within sameFailure are about one failure. A report after that, but within
	// recovery, means that the node is still behind. Until recovery is over the node
	// admits nobody it would send to: packets that it leaves out are missing from its
	// rate, which therefore looks as if there were room.
	sameFailure = 2 * time.Second
	recovery    = 15 * time.Second
	// pressure is how long after something was sent late a node that has been behind
	// counts as about to be behind again.
	pressure = time.Second
)

// throughput is how much a node sends, and how much it can send.
type throughput struct {
	mu      sync.Mutex
	since   time.Time // of the window
	count   uint64    // packets at since
	refused uint64    // packets so far for which the system had no room
	rate    float64   // a second, in the last whole window
	best    float64   // the highest rate within recentRates
	bestAt  time.Time
	learned float64       // capacity in packets a second; 0: none
	at      time.Time     // when learned was set, or grew
	tooMuch float64       // the rate at which the node fell behind
	every   time.Duration // how often learned grows
	failed  time.Time     // when the node was last behind
	counted time.Time     // when a failure last changed learned
	// arrived counts the sessions admitted since the window began, and in the window
	// before: their packets are not in rate yet.
	arrived [2]int
	late    atomic.Int64 // when something was last sent late, in ns since 1970
}

// look updates the rate from the number of packets sent so far, and returns it.
func (t *throughput) look(now time.Time, count uint64) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch passed := now.Sub(t.since); {
	case t.since.IsZero():
		t.since, t.count = now, count
	case passed >= capacityWindow:
		t.rate = float64(count-t.count) / passed.Seconds()
		t.since, t.count = now, count
		t.arrived = [2]int{0, t.arrived[0]}
		if t.rate >= t.best || now.Sub(t.bestAt) > recentRates {
			t.best, t.bestAt = t.rate, now
		}
	}
	if t.isLate(now) {
		t.at = now // nothing shows that the node can send more
	}
	for t.learned > 0 && now.Sub(t.at) >= t.interval() {
		t.at = t.at.Add(t.interval())
		t.learned *= learnedGrowth
		if t.learned > t.tooMuch {
			t.every = max(t.every/2, leastInterval)
		}
		if t.learned > forgotten {
			t.learned = 0
		}
	}
	return t.rate
}

// interval returns the time between two growths of the learned capacity. It is longer
// while little of the capacity is used: nothing shows then that it is too low.
func (t *throughput) interval() time.Duration {
	if t.rate < t.learned*inUse {
		return max(t.every, recentRates)
	}
	return t.every
}

// arrives notes that a session was admitted that media will be sent to.
func (t *throughput) arrives() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arrived[0]++
}

// leaves notes the end of a session that was admitted at begun.
func (t *throughput) leaves(begun time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.arrived[0] > 0 && !begun.Before(t.since):
		t.arrived[0]--
	case t.arrived[1] > 0 && t.since.Sub(begun) < capacityWindow:
		t.arrived[1]--
	}
}

// overflows notes how many packets the system has had no room for. If that is one in a
// thousand of the present window, the node is behind.
func (t *throughput) overflows(now time.Time, count, refused uint64) {
	t.mu.Lock()
	more := refused - t.refused
	t.refused = refused
	behind := more > 0 && more*1000 >= count-t.count
	t.mu.Unlock()
	if behind {
		t.behind(now)
	}
}

// behind notes that the node cannot send as much as it did lately. It does nothing if the
// node sends little: then the node was held up by something else.
func (t *throughput) behind(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.best < leastLearned {
		return
	}
	still := t.learned > 0 && now.Sub(t.failed) < recovery
	t.failed = now
	if still && now.Sub(t.counted) < sameFailure {
		return
	}
	most := t.best
	if still { // even less than the best rate is too much
		most = max(t.rate, leastLearned)
	} else {
		t.every = min(max(4*t.every, leastInterval), mostInterval)
	}
	if t.learned == 0 || most*learnedShare < t.learned {
		t.learned, t.tooMuch = most*learnedShare, most
	}
	t.at, t.counted = now, now
}

// recovers reports whether the node is still recovering from a failure. It admits nobody
// meanwhile.
func (t *throughput) recovers(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learned > 0 && now.Sub(t.failed) < recovery
}

// paces reports whether another session would hurt those that are there. A node that has
// been behind and is half full again admits nobody while it is late, and otherwise only a
// few sessions a second, since a session costs more while it joins than later.
func (t *throughput) paces(now time.Time, sessions int) bool {
	const least, part = 2, 20
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.learned == 0 || t.rate <= t.learned/2 {
		return false
	}
	return t.isLate(now) || t.arrived[0] >= max(least, sessions/part)
}

func (t *throughput) isLate(now time.Time) bool {
	return now.UnixNano()-t.late.Load() < int64(pressure)
}

// share returns the share of the node's capacity that is in use, 0 to 1. It is 0 if the
// capacity is unknown, and 1 while the node recovers. Each session that was admitted just
// now counts as much as the others on average.
func (t *throughput) share(now time.Time, count uint64, sessions int, c Capacity) float64 {
	rate := t.look(now, count)
	if t.recovers(now) {
		return 1
	}
	t.mu.Lock()
	fresh := t.arrived[0] + t.arrived[1]
	t.mu.Unlock()
	if fresh < sessions {
		rate *= float64(sessions) / float64(sessions-fresh)
	}
	return min(rate/t.most(c), 1)
}

// most returns how many packets a second the node can send, or infinity if that is
// unknown.
func (t *throughput) most(c Capacity) float64 {
	t.mu.Lock()
	learned := t.learned
	t.mu.Unlock()
	most := math.Inf(1)
	for _, x := range []float64{c.Packets, learned} {
		if x > 0 {
			most = min(most, x)
		}
	}
	return most
}

// behind notes that the node could not send everything. Services call it when they have
// left something out for that reason. [Node.Load] is 1 until 15 seconds after the last
// call, and is then computed from the capacity that was learned.
func (n *Node) behind() {
	now := time.Now()
	n.throughput.look(now, n.transport.egress.Stats().Datagrams)
	n.throughput.behind(now)
	n.noteLoad()
}

// late notes that something was sent later than it could have been, though nothing was
// left out. Services call it as often as that happens. A node that was behind lately
// admits nobody for a second after it.
func (n *Node) late() { n.throughput.late.Store(time.Now().UnixNano()) }

// Load returns the share of the node's capacity that is in use, 0 to 1: of its
// sessions or of the packets that it can send, whichever is higher. Other nodes learn it
// over links and from directories. The load of a node that is leaving is 1.
func (n *Node) Load() float64 {
	if n.Draining() {
		return 1
	}
	return max(n.admissions.load(n.Limits().Sessions), n.sending())
}

// sending returns the share of what the node can send that is in use, 0 to 1.
func (n *Node) sending() float64 {
	now, s := time.Now(), n.transport.egress.Stats()
	n.throughput.overflows(now, s.Datagrams, s.Full)
	return n.throughput.share(now, s.Datagrams, n.admissions.size(), n.config.Capacity)
}

// hasRoom returns nil if the node may admit another viewer or node, and why not otherwise.
func (n *Node) hasRoom() error {
	if n.sending() >= 1 || n.throughput.paces(time.Now(), n.admissions.size()) {
		return &LimitError{"capacity_packets", int(n.throughput.most(n.config.Capacity))}
	}
	return nil
}
