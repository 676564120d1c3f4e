package scoreboard

import (
	"math/rand/v2"
	"time"

	"github.com/deltacdn/delta/internal/send/bwe"
)

// A kind is what a viewer reports.
type kind int

const (
	chromium    kind = iota // transport-wide feedback, or REMB for packets without the number
	rembOnly                // REMB
	reportsOnly             // receiver reports and NACKs, as all do
)

func (k kind) String() string { return [...]string{"chromium", "remb", "reports"}[k] }

const (
	reportEvery = time.Second
	rembEvery   = 200 * time.Millisecond
	nackAfter   = 10 * time.Millisecond
	mostNacks   = 8
	noPicture   = 700 * time.Millisecond // then a keyframe is asked for
	askEvery    = time.Second
	tooLate     = 400 * time.Millisecond
	givenUp     = 2 * time.Second // after it is too late, a frame is not waited for any more
	freezeFrom  = 300 * time.Millisecond
)

// A receiver is a modeled viewer.
type receiver struct {
	*loop
	kind  kind
	from  *sender
	board *record
	rng   *rand.Rand

	extra    time.Duration // delay behind the shared path
	back     time.Duration // delay of what it reports
	backLoss float64

	feedback transport
	remote   remote
	streams  [streams]counter
	missing  map[int]*gap // of video
	assembly assembly
	asked    time.Duration // for a keyframe

	clockDelay time.Duration // how long the last sender report took
}

// A counter counts one stream for reports.
type counter struct {
	highest, received int // highest is -1 until something came
	lastHighest       int
	lastReceived      int
}

// A gap is a packet that has not come.
type gap struct{ asked int }

func (r *receiver) start() {
	r.missing = map[int]*gap{}
	r.assembly.init(r)
	for i := range r.streams {
		r.streams[i] = counter{highest: -1, lastHighest: -1}
	}
	r.every(reportEvery, r.report)
	if r.kind == chromium {
		r.after(firstFeedback, r.feed)
	}
	if r.kind != reportsOnly {
		r.remote.init(r)
	}
}

// roundTrip is the least round trip of the path.
func (r *receiver) roundTrip() time.Duration { return r.from.link.Path().Delay + r.extra + r.back }

// tell sends what the viewer reports, if it is not lost.
func (r *receiver) tell(do func()) {
	if r.backLoss > 0 && r.rng.Float64() < r.backLoss {
		return
	}
	r.after(r.back, do)
}

// arrived takes a packet.
func (r *receiver) arrived(p packet) {
	if p.stamped && r.kind == chromium {
		r.feedback.add(p.wide, r.now)
	} else if r.kind != reportsOnly {
		r.remote.add(p, r.now)
	}
	c := &r.streams[p.stream]
	if p.stream == video {
		r.detect(c.highest, p.seq)
	}
	c.received++
	c.highest = max(c.highest, p.seq)
	switch {
	case p.stream == clock:
		r.clockDelay = r.now - p.sent
	case p.stream == audio:
		r.board.audio(p.seq, r.now, p.sent)
	case p.frame != nil:
		if p.stream == video {
			delete(r.missing, p.seq)
		} else {
			delete(r.missing, p.origin)
		}
		r.assembly.add(p)
	}
}

// detect notes which packets are missing when one arrives.
func (r *receiver) detect(highest, seq int) {
	for s := highest + 1; s < seq && highest >= 0; s++ {
		g := &gap{}
		r.missing[s] = g
		r.after(nackAfter, func() { r.nack(s, g) })
	}
}

// nack asks for a packet until it comes.
func (r *receiver) nack(seq int, g *gap) {
	if r.missing[seq] != g {
		return
	}
	if g.asked++; g.asked > mostNacks {
		delete(r.missing, seq)
		return
	}
	r.tell(func() { r.from.nack([]int{seq}) })
	r.after(max(r.roundTrip()+20*time.Millisecond, 50*time.Millisecond), func() { r.nack(seq, g) })
}

// report sends a receiver report.
func (r *receiver) report() {
	trip := r.roundTrip()
	if r.clockDelay > 0 {
		trip = r.clockDelay + r.back
	}
	var blocks []bwe.Report
	for i := range r.streams {
		c := &r.streams[i]
		expected := c.highest - c.lastHighest
		if c.highest < 0 || expected == 0 || stream(i) == clock {
			continue
		}
		lost := max(0, expected-(c.received-c.lastReceived))
		c.lastHighest, c.lastReceived = c.highest, c.received
		blocks = append(blocks, bwe.Report{
			SSRC: uint32(100 + i), Highest: uint32(c.highest), RoundTrip: trip,
			Lost: uint8(min(255, 256*lost/expected)),
		})
	}
	r.tell(func() { r.from.report(blocks) })
}

// requestKeyframe asks for a keyframe, not too often.
func (r *receiver) requestKeyframe() {
	if r.asked != 0 && r.now-r.asked < askEvery {
		return
	}
	r.asked = r.now
	r.tell(r.from.keyframe)
}

// An assembly puts frames together and shows those that can be decoded.
type assembly struct {
	*receiver
	frames map[frameID]*assembled
}

type frameID struct{ layer, number int }

type assembled struct {
	frame
	have    map[int]bool
	due     time.Duration // until when it is playable
	decoded bool
}

func (a *assembly) init(r *receiver) {
	a.receiver, a.frames = r, map[frameID]*assembled{}
}

// expect is told of a frame that is sent.
func (r *receiver) expect(f frame) {
	delay := r.from.link.Path().Delay + r.extra
	g := &assembled{frame: f, have: map[int]bool{}, due: r.now + delay + tooLate}
	id := frameID{f.layer, f.number}
	r.assembly.frames[id] = g
	r.board.frames++
	r.at(g.due, func() { r.assembly.expire(id, g) })
	r.at(g.due+givenUp, func() { r.assembly.forget(id, g) })
}

func (a *assembly) add(p packet) {
	id := frameID{p.frame.layer, p.frame.number}
	g := a.frames[id]
	if g == nil || g.decoded {
		return
	}
	g.have[p.index] = true
	if len(g.have) == g.packets {
		a.decode(g)
	}
}

// decode shows a frame that is complete, and those that waited for it.
func (a *assembly) decode(g *assembled) {
	if len(g.have) < g.packets || g.decoded {
		return
	}
	if g.needs >= 0 {
		if needed := a.frames[frameID{g.layer, g.needs}]; needed == nil || !needed.decoded {
			return
		}
	}
	g.decoded = true
	if a.now <= g.due {
		a.board.playable++
	}
	path := a.from.link.Path()
	wire := path.Delay + a.extra
	if path.Rate > 0 {
		wire += time.Duration(g.packets*g.size*8) * time.Second / time.Duration(path.Rate)
	}
	a.board.show(a.now, g.captured, wire)
	for n := g.number + 1; n <= g.number+3; n++ {
		if next := a.frames[frameID{g.layer, n}]; next != nil && next.needs == g.number {
			a.decode(next)
		}
	}
}

// expire gives up a frame that has not come in time. It may be shown yet, but a
// keyframe is asked for.
func (a *assembly) expire(id frameID, g *assembled) {
	if !g.decoded && id.layer == a.from.playing && a.now-a.board.lastShown > noPicture {
		a.requestKeyframe()
	}
}

// forget ends the wait for a frame. One that is whole by then, and was not decoded, refers to a
// frame that never was.
func (a *assembly) forget(id frameID, g *assembled) {
	delete(a.frames, id)
	if !g.decoded && len(g.have) == g.packets {
		a.board.undecodable++
	}
}
