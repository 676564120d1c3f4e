package scoreboard

import (
	"fmt"
	"time"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/slow"
)

// A stream is one RTP stream of a viewer.
type stream uint8

const (
	audio stream = iota
	video
	repair // RTX: repeats, and probes
	clock  // sender reports
	streams
)

// A packet is on its way to a viewer.
type packet struct {
	stream  stream
	seq     int // in its stream
	stamped bool
	wide    uint16 // transport-wide sequence number, if stamped
	size    int    // with all headers
	sent    time.Duration
	frame   *frame // of video, and of what is repeated
	index   int    // in the frame
	origin  int    // of what is repeated: its seq in video; -1: a probe
}

const (
	padding    = 4 * time.Millisecond
	lookEvery  = 100 * time.Millisecond
	repairPart = 0.25
	history    = 1024
	lostWithin = 2 * time.Second // see keyframe
)

// A sender is the server's side of one viewer.
type sender struct {
	*loop
	source    *publisher
	link      *netem.Link
	to        *receiver
	estimator *bwe.Estimator
	policy    allot.Policy
	breaker   slow.Breaker
	limits    allot.Limits
	board     *record

	rung    allot.Rung
	playing int // the layer whose frames are sent; -1: none
	waiting int // the layer whose keyframe is waited for; -1: none
	held    bool
	dozes   bool // it needs no estimate

	seqs     [streams]int
	reported [streams]int // of them, until the last report
	wide     uint16
	queue    []packet // of video, that wait for the pacer
	pacer    pacer
	probe    bwe.Probe
	probing  time.Duration // when it began
	probed   int           // bytes sent since then
	budget   float64       // bytes that may be repeated
	sent     [history]packet
	repeated [history]time.Duration

	forgotten int           // packets of video below this are not repeated
	newest    *frame        // that was sent last
	lost      time.Duration // when a packet of it was last asked for again; 0: none was

	layers []allot.Layer
	ladder allot.Ladder
}

// start begins to send. Packets have been told to the estimator from the first.
func (s *sender) start() {
	s.playing, s.waiting = -1, -1
	s.repace()
	s.estimator.Wake(s.clock())
	s.look()
	s.every(lookEvery, s.look)
	s.every(time.Second, s.tellTime)
	s.every(audioTime, func() { s.send(packet{stream: audio, size: audioSize}) })
	s.source.viewers = append(s.source.viewers, s)
}

// look asks the policy.
func (s *sender) look() {
	if s.held {
		return
	}
	now := s.clock()
	state := s.estimator.State(now)
	s.layers = s.source.layers(s.layers)
	s.ladder = allot.Build(s.ladder, s.layers, soundsCost, s.limits)
	choice := s.policy.Choose(allot.View{Now: now, State: state, Ladder: s.ladder, Rung: s.ladder.Find(s.rung)})
	if r := s.ladder[choice.Rung]; choice.Reason != allot.Stay {
		s.change(r, choice.Reason, state)
	} else {
		s.rung = r
	}
	if trace && choice.Doze != s.estimator.Dozing() {
		fmt.Printf("%s %7.2fs dozes: %v, %+v\n", s.board.name, s.now.Seconds(), choice.Doze, state)
	}
	if s.dozes = choice.Doze; s.dozes {
		s.estimator.Doze()
	} else {
		s.estimator.Wake(now)
	}
	if s.probe.Rate > 0 && state.Probe.Done && state.Probe.ID == s.probe.ID { // it need not go on
		s.probe = bwe.Probe{}
	}
	if choice.Probe.Rate > 0 {
		if trace {
			fmt.Printf("%s %7.2fs probe %.0f for %v, estimate %.0f\n", s.board.name, s.now.Seconds(), choice.Probe.Rate/1e3, choice.Probe.Duration, state.Bitrate/1e3)
		}
		s.probe, s.probing, s.probed = choice.Probe, s.now, 0
		if s.rung.Mode < allot.Full {
			s.probed = s.pacer.onItsWay(s.now)
		}
		s.estimator.StartProbe(now, choice.Probe)
		s.pad()
	}
}

// change takes a step. Down, the layer ends at once; up, it goes on until there is a
// keyframe of the next.
func (s *sender) change(r allot.Rung, reason allot.Reason, state bwe.State) {
	s.board.step(s.now, s.rung, r, reason, state)
	down := r.Cost < s.rung.Cost
	s.rung = r
	if down {
		s.pacer.fell = s.now
	}
	switch {
	case r.Layer < 0:
		s.playing, s.waiting, s.queue = -1, -1, nil
	case r.Layer == s.playing:
		s.waiting = -1
	default:
		s.waiting = r.Layer
		s.source.request(r.Layer)
		if down {
			s.playing, s.queue = -1, nil
		}
	}
	if down {
		s.forgotten = s.seqs[video] // repairs of what was too much would be too much
	}
}

// frame takes a frame of the publisher's.
func (s *sender) frame(f frame) {
	if s.held {
		return
	}
	if f.layer == s.waiting && f.needs < 0 {
		s.playing, s.waiting = s.waiting, -1
		s.board.shows(s.now, s.playing)
	}
	if f.layer != s.playing || !s.allows(f) {
		return
	}
	s.to.expect(f)
	for i := range f.packets {
		s.queue = append(s.queue, packet{stream: video, size: f.size, frame: &f, index: i})
	}
	s.flush()
}

func (s *sender) allows(f frame) bool {
	switch s.rung.Mode {
	case allot.Keyframes:
		return f.needs < 0
	case allot.Partial:
		return f.temporal <= s.rung.Temporal
	}
	return true
}

// flush sends video, as the pacer lets it.
func (s *sender) flush() {
	if !s.pacer.waits {
		s.drain()
	}
}

func (s *sender) drain() {
	s.repace()
	for len(s.queue) > 0 {
		if at := s.pacer.opens(s.now); at > s.now {
			s.pacer.waits = true
			s.at(at, s.drain)
			return
		}
		p := s.queue[0]
		s.queue, s.newest = s.queue[1:], p.frame
		s.send(p)
	}
	s.pacer.waits = false
}

// pad sends padding until the probe's rate is reached.
func (s *sender) pad() {
	elapsed := s.now - s.probing
	if elapsed > s.probe.Duration || s.probe.Rate == 0 {
		s.probe = bwe.Probe{}
		s.tellTime() // its round trip shows the queue that the probe has made
		return
	}
	for float64(s.probed*8) < s.probe.Rate*(elapsed+padding).Seconds() {
		s.send(packet{stream: repair, size: payloadSize + rtpSize + ipSize, origin: -1})
	}
	s.after(padding, s.pad)
}

// tellTime sends a sender report.
func (s *sender) tellTime() { s.send(packet{stream: clock, size: 100}) }

// send puts a packet on the link.
func (s *sender) send(p packet) {
	if s.held {
		return
	}
	p.seq, p.sent = s.seqs[p.stream], s.now
	s.seqs[p.stream]++
	switch f := flags(p); {
	case s.estimator.Dozing():
		s.estimator.SentPlain(s.clock(), 1, p.size)
	default:
		p.stamped, p.wide = true, s.wide
		s.wide++
		s.estimator.Sent(p.wide, s.clock(), p.size, f)
	}
	s.probed += p.size
	s.pacer.sent(s.now, p)
	if p.stream == video {
		s.budget = min(s.budget+repairPart*float64(p.size), 38_000)
		s.sent[p.seq%history] = p
		s.repeated[p.seq%history] = 0
	}
	s.board.waits(s.now, s.link.Wait(s.clock()))
	at, fate := s.link.Carry(s.clock(), p.size-ipSize)
	s.board.sent(s.now, p, fate)
	if fate == netem.Passed {
		s.at(at.Sub(epoch)+s.to.extra, func() { s.to.arrived(p) })
	}
}

func flags(p packet) bwe.Flag {
	switch {
	case p.stream != repair:
		return bwe.Media
	case p.origin < 0:
		return bwe.Padding
	}
	return bwe.Repair
}

// report takes the blocks of a report.
func (s *sender) report(blocks []bwe.Report) {
	for _, b := range blocks {
		if i := stream(b.SSRC - 100); i != repair {
			b.Sent = uint32(s.seqs[i] - s.reported[i])
			s.reported[i] = s.seqs[i]
		}
		s.estimator.Report(s.clock(), b)
		if stream(b.SSRC-100) == audio {
			s.breaker.Report(s.clock(), float64(b.Lost)/256)
		}
	}
	if s.breaker.Tripped() && !s.held {
		s.end()
	}
	s.look()
}

// nack repeats packets.
func (s *sender) nack(seqs []int) {
	s.estimator.Nack(len(seqs))
	for _, seq := range seqs {
		i := seq % history
		p := s.sent[i]
		again := s.repeated[i] != 0 && s.now-s.repeated[i] < s.to.roundTrip()
		if p.seq != seq || seq < s.forgotten || again {
			continue
		}
		if p.frame == s.newest {
			s.lost = s.now
		}
		if s.budget < float64(p.size) {
			continue
		}
		s.budget -= float64(p.size)
		s.repeated[i] = s.now
		s.send(packet{stream: repair, size: p.size + 2, frame: p.frame, index: p.index, origin: seq})
	}
}

// keyframe takes a request for a keyframe. A viewer of keyframes alone is heard only if it lacks
// a part of the last one.
func (s *sender) keyframe() {
	if s.rung.Mode == allot.Keyframes && (s.lost == 0 || s.now-s.lost > lostWithin) {
		return
	}
	if s.playing >= 0 {
		s.source.request(s.playing)
	}
}

// end ends the session, since it is of no use any more.
func (s *sender) end() {
	s.held, s.probe = true, bwe.Probe{}
	s.board.ended = s.now
	s.board.shows(s.now, -1)
}

// hold stops all that is sent, as a viewer's pause does.
func (s *sender) hold() {
	s.held = true
	s.estimator.Doze()
}

// resume goes on.
func (s *sender) resume() {
	s.held, s.queue = false, nil
	s.estimator.Wake(s.clock())
	s.board.returned = s.now
	if s.playing >= 0 {
		s.waiting, s.playing = s.playing, -1
		s.source.request(s.waiting)
	}
}
