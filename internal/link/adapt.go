package link

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// An adaptation fits what a link sends to its path. While nothing is wrong it dozes, and all
// that the other node wants is sent. When reports say that something is, packets are
// numbered, and what does not fit is held back: of all streams the highest layers first, then
// the lowest, and never sound. It is the policy of viewers that chooses ([allot.Adaptive]).
// [Link.run] alone uses it, but for urgent and state.
type adaptation struct {
	trunk  *send.Trunk
	urgent atomic.Bool // feedback asks for a decision at once
	state  atomic.Pointer[adaptState]

	policy *allot.Adaptive // nil while it dozes
	shares []share
	parts  []part
	kept   int       // how many of shares are sent, the first ones
	spent  float64   // what those cost when there were some, in bits a second
	narrow bool      // some are held back, or were when they came last
	quiet  time.Time // when something was sent last
	ladder allot.Ladder
	due    time.Time
	woken  time.Time // since when feedback is awaited; zero: it is not

	sent uint64 // bytes, as of the last look
}

// adaptState is what statistics tell.
type adaptState struct {
	estimate float64
	held     []cdn.StreamID
}

// A share is one step of what may be sent of a track: a layer more.
type share struct {
	part
	layer int     // how many of the track's layers are sent with it
	rank  int     // those of the lowest are sent the longest
	cost  float64 // what it adds, in bits a second
}

// A part is a track of video that may be held back.
type part struct {
	by    *outbound
	track *cdn.Track
}

const (
	lookEvery   = 100 * time.Millisecond
	dozeEvery   = time.Second
	wakesWithin = 700 * time.Millisecond
	// mostRungs bounds the ladder: with many streams a step takes several layers.
	mostRungs = 32
	// idleAfter is how long nothing has to be sent until what is known of the path counts no
	// more.
	idleAfter = 10 * time.Second
)

func (a *adaptation) init(now time.Time) { a.trunk = send.NewTrunk(now) }

// adapt decides which layers are held back, if it is time to, and returns when it is next.
func (l *Link) adapt(now time.Time) (next time.Time) {
	a := &l.adaptation
	if now.Before(a.due) && !a.urgent.Swap(false) {
		return a.due
	}
	state := a.trunk.State(now)
	before := a.sent
	a.sent = a.trunk.Bytes()
	a.due = now.Add(lookEvery)
	switch {
	case a.policy == nil && (!state.Trouble || a.sent == before):
		a.due = now.Add(dozeEvery)
	case a.policy == nil:
		a.trunk.Wake(now)
		for _, s := range l.streams() {
			s.set.Kick()
		}
		a.woken, a.policy = now, allot.NewAdaptive(allot.Config{First: unlimited})
	case !a.woken.IsZero() && now.Sub(a.woken) <= wakesWithin && (state.Source != bwe.TransportFeedback || state.Bitrate >= unlimited): // wait for the first estimate
	case a.sent == before && (a.kept > 0 || len(a.shares) == 0): // nothing was sent: all stays as it is
		if now.Sub(a.quiet) > idleAfter {
			l.stopAdapting(now)
		}
		return a.due
	default:
		a.woken = time.Time{}
		l.choose(now, &state)
	}
	a.quiet = now
	return a.due
}

// stopAdapting ends watching the path, and holds nothing back.
func (l *Link) stopAdapting(now time.Time) {
	a := &l.adaptation
	changed := false
	for _, s := range l.streams() {
		for _, t := range s.stream.Tracks() {
			if s.set.Bound(now, t, len(t.Layers())) {
				changed = true
				s.tell(now)
			}
		}
	}
	if changed {
		l.links.node.Emit(cdn.LinkAdapted{Node: l.Peer(), URL: l.to.URL, Reason: allot.Limited.String()})
	}
	a.trunk.Doze()
	a.policy, a.shares, a.parts = nil, nil, nil
	a.kept, a.spent, a.narrow = 0, 0, false
	a.state.Store(nil)
}

const unlimited = 1e12 // bits a second

// choose asks the policy, and does what it says.
func (l *Link) choose(now time.Time, state *bwe.State) {
	a := &l.adaptation
	rung := l.arrange(now)
	choice := a.policy.Choose(allot.View{Now: now, State: *state, Ladder: a.ladder, Rung: rung})
	switch {
	case choice.Rung != rung:
		l.keep(now, state, choice.Rung, choice.Reason)
	case choice.Doze && !a.narrow:
		l.stopAdapting(now)
	case choice.Probe.Rate > 0 && !l.probe(now, choice.Probe): // nobody can: it is tried
		l.keep(now, state, rung+1, allot.Room)
		a.policy.Moved(a.ladder[rung+1])
	default:
		l.holdBack(now, state, false, allot.Limited) // there may be other shares than before
	}
}

// keep has sent what a rung has.
func (l *Link) keep(now time.Time, state *bwe.State, rung int, why allot.Reason) {
	a := &l.adaptation
	before := a.kept
	if a.kept = l.upTo(a.ladder[rung]); a.kept == 0 {
		a.spent = 0
	}
	l.holdBack(now, state, a.kept < before, why)
}

// arrange makes the ladder of what there is now, and returns what is sent on it.
func (l *Link) arrange(now time.Time) (rung int) {
	a := &l.adaptation
	before := a.shares
	rest := l.share(now)
	moved := !slices.EqualFunc(before, a.shares, same)
	switch {
	case !a.narrow:
		a.kept = len(a.shares)
	case moved && (a.kept == 0 || len(a.shares) < a.kept || !slices.EqualFunc(before[:a.kept], a.shares[:a.kept], same)):
		a.kept = fitting(a.shares, a.spent*(1+slack))
	}
	if a.kept > 0 {
		a.spent = 0
		for _, s := range a.shares[:a.kept] {
			a.spent += s.cost
		}
	}
	a.ladder = ladder(a.ladder, a.shares, rest)
	if rung = a.kept / group(a.shares); a.kept == len(a.shares) {
		rung = len(a.ladder) - 1
	}
	if moved {
		a.policy.Moved(a.ladder[rung])
	}
	return rung
}

// slack is by which part what is sent may cost more than before after there are other shares:
// costs change all the time.
const slack = 0.02

// same reports whether two shares are of the same layer, whatever they cost.
func same(a, b share) bool { return a.part == b.part && a.layer == b.layer }

// fitting returns how many shares, the first ones, cost no more than so many bits a second.
func fitting(all []share, bits float64) int {
	for i, s := range all {
		if bits -= s.cost; bits < 0 {
			return i
		}
	}
	return len(all)
}

// group returns how many shares a step takes.
func group(all []share) int { return max(1, (len(all)+mostRungs-1)/mostRungs) }

// ladder appends to l[:0] the rungs that shares make: each has some more than the one below.
// rest is what is sent besides.
func ladder(l allot.Ladder, all []share, rest float64) allot.Ladder {
	l = append(l[:0], allot.Rung{Layer: -1, Cost: rest})
	cost := rest
	for i, s := range all {
		cost += s.cost
		if n := group(all); (i+1)%n == 0 || i == len(all)-1 {
			l = append(l, allot.Rung{Mode: allot.Full, Layer: i / n, Cost: cost})
		}
	}
	return l
}

// upTo returns how many shares a rung has.
func (l *Link) upTo(r allot.Rung) int {
	a := &l.adaptation
	return min((r.Layer+1)*group(a.shares), len(a.shares))
}

// share finds the layers that may be held back, those that are sent the longest first: the
// lowest of all tracks, then the next of all, and of one kind the oldest subscription's
// first. rest is what all else takes.
func (l *Link) share(now time.Time) (rest float64) {
	a := &l.adaptation
	a.shares, a.parts = nil, nil
	streams := l.streams()
	sounds := slices.ContainsFunc(streams, func(s *outbound) bool {
		_, sound := s.set.Shares(now)
		return sound > 0
	})
	waits := false // something that is held back does not come at present
	for _, s := range streams {
		video, sound := s.set.Shares(now)
		rest += sound
		for _, v := range video {
			if slices.Max(v.Costs) == 0 { // what was held back of it stays so
				waits = waits || v.Held
				continue
			}
			a.parts = append(a.parts, part{s, v.Track})
			below := 0.0
			for i, cost := range v.Costs {
				more := share{part: part{s, v.Track}, layer: i + 1, rank: i + 1, cost: cost - below}
				last := below == 0 && sound == 0 // without it nothing is left that shows that the stream lives
				switch {
				case cost <= below:
				case last && !sounds:
					rest += cost
				case last: // the sound of others needs its place at worst
					more.rank = 0
					fallthrough
				default:
					a.shares = append(a.shares, more)
				}
				below = max(below, cost)
			}
		}
	}
	slices.SortStableFunc(a.shares, func(a, b share) int { return cmp.Compare(a.rank, b.rank) })
	if len(a.shares) > 0 {
		a.narrow = a.narrow && (waits || a.kept < len(a.shares))
	}
	return rest
}

// streams returns what is sent to the other node, the oldest subscription first.
func (l *Link) streams() (all []*outbound) {
	l.mu.Lock()
	for _, s := range l.subs.out {
		all = append(all, s)
	}
	l.mu.Unlock()
	all = slices.DeleteFunc(all, func(s *outbound) bool { return !s.isStarted() })
	slices.SortFunc(all, func(a, b *outbound) int { return cmp.Compare(a.id, b.id) })
	return all
}

func (s *outbound) isStarted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

// holdBack has sent what is kept, and nothing of the other shares.
func (l *Link) holdBack(now time.Time, state *bwe.State, fewer bool, why allot.Reason) {
	a := &l.adaptation
	changed := false
	told := &adaptState{}
	if state.Bitrate < unlimited {
		told.estimate = state.Bitrate
	}
	for _, p := range a.parts {
		layers := len(p.track.Layers()) // what the node does not want at present it may want
		for _, s := range a.shares[a.kept:] {
			if s.part == p {
				layers = s.layer - 1
				told.held = append(told.held, p.by.requested)
				break
			}
		}
		if p.by.set.Bound(now, p.track, layers) {
			changed = true
			p.by.tell(now)
		}
	}
	slices.Sort(told.held)
	told.held = slices.Compact(told.held)
	a.state.Store(told)
	a.narrow = a.narrow || a.kept < len(a.shares)
	if changed {
		l.links.node.Emit(cdn.LinkAdapted{
			Node: l.Peer(), URL: l.to.URL, HeldBack: len(a.shares) - a.kept, Lower: fewer, Reason: why.String(), Estimate: told.estimate,
		})
	}
}

// probe begins a probe, with the packets of a stream that has some. It reports whether there
// is one.
func (l *Link) probe(now time.Time, plan bwe.Probe) bool {
	for _, s := range l.streams() {
		if s.set.CanPad() {
			l.adaptation.trunk.StartProbe(now, plan, s.set)
			return true
		}
	}
	return false
}
