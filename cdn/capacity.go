package cdn

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Capacity is what a node can send. Zero values are learned: when a node turns out to
// be behind, it takes nobody more for some seconds, knows how much was too much, and
// tries more in small steps, which are the rarer the oftener they fail.
type Capacity struct {
	Packets float64 // a second, out of the UDP port; those of PeerConnections are not counted
}

const (
	// capacityWindow is the span over which the rate of packets is measured.
	capacityWindow = time.Second
	// A node that falls behind takes learnedShare of its highest rate of late as its
	// capacity. Below leastLearned packets a second it learns nothing.
	learnedShare = 0.9
	recentRates  = time.Minute
	leastLearned = 1000
	// The learned capacity grows by the factor learnedGrowth at intervals. The first
	// interval is short, because many viewers that join at once overload a node that can
	// serve them later. Each failure makes the interval four times as long. Each growth
	// beyond the rate at which the node failed halves it.
	learnedGrowth = 1.05
	inUse         = 0.8 // a node that uses a smaller share of it waits for a minute at least
	leastInterval = 2 * time.Second
	mostInterval  = time.Minute
	// forgotten is a learned capacity that has grown so far that it means nothing.
	forgotten = 1e9
	// A failure that is reported again within sameFailure is the same one; after that,
	// and within recovery, the node is still behind. Until recovery is over it sends to
	// nobody more: what it leaves out makes room only in the count of packets.
	sameFailure = 2 * time.Second
	recovery    = 15 * time.Second
	// A node that has been behind, and is late, is about to be behind again.
	pressure = time.Second
)

// throughput is how much a node sends, and can.
type throughput struct {
	mu      sync.Mutex
	since   time.Time // of the window
	count   uint64    // packets at since
	refused uint64    // packets so far for which the system had no room
	rate    float64   // a second, in the last whole window
	best    float64   // the highest rate of late
	bestAt  time.Time
	learned float64       // packets a second; 0: nothing
	at      time.Time     // when that was learned, or grew
	tooMuch float64       // the rate at which the node fell behind
	every   time.Duration // how often it grows
	failed  time.Time     // when the node was last behind
	counted time.Time     // when that last changed what is learned
	// arrived are the sessions let in since the window began, and in the one before: their
	// packets are not in its rate yet.
	arrived [2]int
	late    atomic.Int64 // when something was last sent late, in ns since 1970
}

// look returns the rate, by a count of the packets so far.
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
		t.at = now // nothing shows that it can do more
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

// interval returns after how long the learned capacity grows. Where less than that is
// used, nothing shows whether it was too little.
func (t *throughput) interval() time.Duration {
	if t.rate < t.learned*inUse {
		return max(t.every, recentRates)
	}
	return t.every
}

// arrives notes that a session that will be sent something is let in.
func (t *throughput) arrives() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arrived[0]++
}

// leaves notes that a session which was let in at that time is over.
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

// overflows notes how many packets the system has had no room for: with one of a
// thousand in the present window, the node is behind.
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

// behind notes that the rate of late is too much. A node that sends little is not behind
// for that: it was held up.
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
	if still { // less than the best rate is too much
		most = max(t.rate, leastLearned)
	} else {
		t.every = min(max(4*t.every, leastInterval), mostInterval)
	}
	if t.learned == 0 || most*learnedShare < t.learned {
		t.learned, t.tooMuch = most*learnedShare, most
	}
	t.at, t.counted = now, now
}

// recovers reports whether the node was behind so lately that it sends to nobody more.
func (t *throughput) recovers(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learned > 0 && now.Sub(t.failed) < recovery
}

// paces reports whether those that are there would suffer from one more: a node that has
// been behind, and is half full again, takes nobody while it is late, and otherwise some a
// second, since each costs more while it joins than it does later.
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

// share returns which share of what the node can send it sends, 0 if nothing is known
// of that. It is 1 while the node recovers. Of the node's sessions, those that have come
// just now count as what the others take in the mean.
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

// most returns how many packets a second the node can send, infinity if nothing is known
// of that.
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

// behind says that the node could not send all that it should have: services that have
// left something out for that call it. The node's [Node.Load] is 1 until 15 seconds
// after the last call, and rises to what was learned of the node's capacity then.
func (n *Node) behind() {
	now := time.Now()
	n.throughput.look(now, n.transport.egress.Stats().Datagrams)
	n.throughput.behind(now)
	n.noteLoad()
}

// late says that something was sent later than it could have been, though nothing is left
// out for that: services that notice it call it, as often as they like. A node that has
// been behind of late takes nobody for a second then.
func (n *Node) late() { n.throughput.late.Store(time.Now().UnixNano()) }

// Load returns the share of the node's capacity that is in use, 0 to 1: of its
// sessions, or of the packets that it can send, whichever is more. Links and
// directories tell it to other nodes. A node that is leaving is full.
func (n *Node) Load() float64 {
	if n.Draining() {
		return 1
	}
	return max(n.admissions.load(n.Limits().Sessions), n.sending())
}

// sending returns which share of what the node can send it sends.
func (n *Node) sending() float64 {
	now, s := time.Now(), n.transport.egress.Stats()
	n.throughput.overflows(now, s.Datagrams, s.Full)
	return n.throughput.share(now, s.Datagrams, n.admissions.size(), n.config.Capacity)
}

// hasRoom returns why the node sends to nobody more, nil: it does.
func (n *Node) hasRoom() error {
	if n.sending() >= 1 || n.throughput.paces(time.Now(), n.admissions.size()) {
		return &LimitError{"capacity_packets", int(n.throughput.most(n.config.Capacity))}
	}
	return nil
}
