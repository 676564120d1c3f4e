package nack

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The simulation: a source sends frames over a chain of hops in virtual time.
// Each node forwards a packet that is new at the instant it comes, repaired
// ones too, and answers every request for a packet that it has.

type simHop struct {
	delay, jitter time.Duration // one way; jitter is uniform, for each packet alone
	loss          float64       // each way
}

type simConfig struct {
	hops    []simHop
	frames  int
	packets int           // a frame
	every   time.Duration // between frames
	spacing time.Duration // between the packets of a frame
	seed    uint64
}

// A simEvent is at a node. A packet arrives there; or requests do; or, with neither, it is
// the node's timer.
type simEvent struct {
	at    time.Duration // since the start
	order int           // equal times: first in, first out
	node  *simNode
	seq   uint64
	asked []uint64
}

func (e *simEvent) before(other *simEvent) bool {
	return e.at < other.at || e.at == other.at && e.order < other.order
}

// A simQueue is a heap.
type simQueue []simEvent

func (q *simQueue) push(e simEvent) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 && e.before(&h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = e
	*q = h
}

func (q *simQueue) pop() simEvent {
	first, last := (*q)[0], (*q)[len(*q)-1]
	h := (*q)[:len(*q)-1]
	i := 0
	for c := 1; c < len(h); c = 2*i + 1 {
		if c+1 < len(h) && h[c+1].before(&h[c]) {
			c++
		}
		if last.before(&h[c]) {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = last
	}
	*q = h
	return first
}

// A simNode receives over one hop and forwards over the next.
type simNode struct {
	sim   *sim
	in    simHop
	up    *simNode
	down  *simNode
	gen   *Generator  // nil: the source
	have  []time.Time // when each packet came, from simFirst on
	timer time.Time

	sent, repairs, lost, requests, duplicates int
}

type sim struct {
	simConfig
	rng   *rand.Rand
	start time.Time
	now   time.Time
	queue simQueue
	order int
	nodes []*simNode // the source first
}

func newSim(c simConfig, g Config) *sim {
	s := &sim{simConfig: c, rng: rand.New(rand.NewPCG(c.seed, 1)), start: time.Unix(1000, 0)}
	s.now = s.start
	have := func() []time.Time { return make([]time.Time, (c.frames+simExtra)*c.packets) }
	s.nodes = []*simNode{{sim: s, have: have()}}
	for _, h := range c.hops {
		up := s.nodes[len(s.nodes)-1]
		n := &simNode{sim: s, in: h, up: up, gen: New(g), have: have()}
		up.down = n
		s.nodes = append(s.nodes, n)
	}
	return s
}

// after plays an event when d has passed.
func (s *sim) after(d time.Duration, e simEvent) {
	s.order++
	e.at, e.order = s.now.Add(d).Sub(s.start), s.order
	s.queue.push(e)
}

// run plays all frames and a few more, so that the loss of each frame's last
// packet is noticed, and returns, for each but those, the time from its first packet's
// sending to the arrival of its last packet at the end of the chain, ascending.
// A frame that was never whole counts as an hour.
func (s *sim) run() []time.Duration {
	for _, n := range s.nodes[1:] {
		n.gen.Received(s.start, simFirst-1) // as a caller does that knows where the stream begins
	}
	for f := range s.frames + simExtra {
		for p := range s.packets {
			at := time.Duration(f)*s.every + time.Duration(p)*s.spacing
			s.playBefore(at)
			s.now = s.start.Add(at)
			s.nodes[0].arrive(simFirst + uint64(f*s.packets+p))
		}
	}
	s.playBefore(math.MaxInt64)
	return s.latencies()
}

func (s *sim) playBefore(end time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at < end {
		e := s.queue.pop()
		s.now = s.start.Add(e.at)
		switch {
		case e.seq != 0:
			e.node.arrive(e.seq)
		case e.asked != nil:
			e.node.answer(e.asked)
		default:
			e.node.expire()
		}
	}
}

func (s *sim) latencies() []time.Duration {
	end := s.nodes[len(s.nodes)-1]
	all := make([]time.Duration, s.frames)
	for f := range all {
		sent := s.start.Add(time.Duration(f) * s.every)
		for _, at := range end.have[f*s.packets:][:s.packets] {
			d := time.Hour
			if !at.IsZero() {
				d = at.Sub(sent)
			}
			all[f] = max(all[f], d)
		}
	}
	slices.Sort(all)
	return all
}

func (n *simNode) arrive(seq uint64) {
	if n.gen != nil {
		fresh := n.gen.Received(n.sim.now, seq)
		n.poll()
		if !fresh {
			n.duplicates++
			return
		}
	}
	n.have[seq-simFirst] = n.sim.now
	if n.down != nil {
		n.send(seq)
	}
}

func (n *simNode) send(seq uint64) {
	n.sent++
	to := n.down
	if d, ok := to.in.cross(n.sim.rng); ok {
		n.sim.after(d, simEvent{node: to, seq: seq})
		return
	}
	n.lost++
}

// poll asks for what is due and arms the timer.
func (n *simNode) poll() {
	due, next := n.gen.Due(n.sim.now, nil)
	n.requests += len(due)
	if d, ok := n.in.cross(n.sim.rng); ok && len(due) > 0 {
		n.sim.after(d, simEvent{node: n.up, asked: due})
	}
	if next.IsZero() || next.Equal(n.timer) {
		return
	}
	n.timer = next
	n.sim.after(next.Sub(n.sim.now), simEvent{node: n})
}

// expire polls if the timer is not armed for another time since.
func (n *simNode) expire() {
	if n.timer.Equal(n.sim.now) {
		n.timer = time.Time{}
		n.poll()
	}
}

// answer resends what is here; what is not yet will be forwarded when it comes.
func (n *simNode) answer(seqs []uint64) {
	for _, seq := range seqs {
		if !n.have[seq-simFirst].IsZero() {
			n.repairs++
			n.send(seq)
		}
	}
}

func (h simHop) cross(rng *rand.Rand) (time.Duration, bool) {
	d := h.delay
	if h.jitter > 0 {
		d += time.Duration(rng.Int64N(int64(h.jitter)))
	}
	return d, rng.Float64() >= h.loss
}

const (
	simFirst = 1 << 16 // the first packet's number
	simExtra = 10      // frames that follow those that are looked at
)
