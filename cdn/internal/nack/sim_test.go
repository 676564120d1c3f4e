package nack

import (
	"container/heap"
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

type simEvent struct {
	at    time.Time
	order int // equal times: first in, first out
	run   func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].order < q[j].order
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(v any)   { *q = append(*q, v.(simEvent)) }
func (q *simQueue) Pop() any {
	last := len(*q) - 1
	v := (*q)[last]
	*q = (*q)[:last]
	return v
}

// A simNode receives over one hop and forwards over the next.
type simNode struct {
	sim   *sim
	in    simHop
	up    *simNode
	down  *simNode
	gen   *Generator // nil: the source
	have  map[uint64]time.Time
	timer time.Time

	sent, repairs, lost, requests, duplicates int
}

type sim struct {
	simConfig
	rng   *rand.Rand
	now   time.Time
	queue simQueue
	order int
	nodes []*simNode // the source first
}

func newSim(c simConfig, g Config) *sim {
	s := &sim{simConfig: c, rng: rand.New(rand.NewPCG(c.seed, 1)), now: time.Unix(1000, 0)}
	s.nodes = []*simNode{{sim: s, have: map[uint64]time.Time{}}}
	for _, h := range c.hops {
		up := s.nodes[len(s.nodes)-1]
		n := &simNode{sim: s, in: h, up: up, gen: New(g), have: map[uint64]time.Time{}}
		up.down = n
		s.nodes = append(s.nodes, n)
	}
	return s
}

func (s *sim) after(d time.Duration, run func()) {
	s.order++
	heap.Push(&s.queue, simEvent{at: s.now.Add(d), order: s.order, run: run})
}

// run plays all frames and a few more, so that the loss of each frame's last
// packet is noticed, and returns, for each but those, the time from its first packet's
// sending to the arrival of its last packet at the end of the chain, ascending.
// A frame that was never whole counts as an hour.
func (s *sim) run() []time.Duration {
	start := s.now
	first := uint64(1 << 16)
	for _, n := range s.nodes[1:] {
		n.gen.Received(start, first-1) // as a caller does that knows where the stream begins
	}
	for f := range s.frames + simExtra {
		for p := range s.packets {
			seq := first + uint64(f*s.packets+p)
			s.after(time.Duration(f)*s.every+time.Duration(p)*s.spacing, func() { s.nodes[0].arrive(seq) })
		}
	}
	for len(s.queue) > 0 {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		e.run()
	}
	return s.latencies(start, first)
}

func (s *sim) latencies(start time.Time, first uint64) []time.Duration {
	end := s.nodes[len(s.nodes)-1]
	all := make([]time.Duration, s.frames)
	for f := range all {
		sent := start.Add(time.Duration(f) * s.every)
		for p := range s.packets {
			d := time.Hour
			if at, ok := end.have[first+uint64(f*s.packets+p)]; ok {
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
	n.have[seq] = n.sim.now
	if n.down != nil {
		n.send(seq)
	}
}

func (n *simNode) send(seq uint64) {
	n.sent++
	to := n.down
	if d, ok := to.in.cross(n.sim.rng); ok {
		n.sim.after(d, func() { to.arrive(seq) })
		return
	}
	n.lost++
}

// poll asks for what is due and arms the timer.
func (n *simNode) poll() {
	due, next := n.gen.Due(n.sim.now, nil)
	n.requests += len(due)
	if d, ok := n.in.cross(n.sim.rng); ok && len(due) > 0 {
		n.sim.after(d, func() { n.up.answer(due) })
	}
	if next.IsZero() || next.Equal(n.timer) {
		return
	}
	n.timer = next
	n.sim.after(next.Sub(n.sim.now), func() {
		if n.timer.Equal(n.sim.now) {
			n.timer = time.Time{}
			n.poll()
		}
	})
}

// answer resends what is here; what is not yet will be forwarded when it comes.
func (n *simNode) answer(seqs []uint64) {
	for _, seq := range seqs {
		if _, ok := n.have[seq]; ok {
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

// simExtra is how many frames follow those that are looked at.
const simExtra = 10
