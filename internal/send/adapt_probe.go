package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

const (
	// padEvery is how often padding is sent while a probe is under way.
	padEvery = 4 * time.Millisecond
	// mostPadding is how many packets of it are sent at once.
	mostPadding = 16
	// repeated is of how many packets, the newest, padding consists.
	repeated = 32
)

// probing is the probe that is under way: padding is added to the media until together
// they have the probe's rate. Padding repeats recent packets on the RTX stream, where the
// viewer drops what it has, and learns what it has not. Where there is no RTX, a higher
// layer is tried (see trial).
type probing struct {
	plan  bwe.Probe // zero: there is none
	began time.Time
	base  uint64 // bytes sent before
	told  uint32 // the last probe of which the policy knows what came of it
	trial *trial // nil: there is none
}

// padding is what is repeated of what was sent.
type padding struct {
	next uint64  // which packet is repeated next
	kept *repair // is repeated after a step down, until there is something newer; nil: none
}

// answered reports whether the policy waits for what came of a probe.
func (p *probing) answered(result *bwe.ProbeResult) bool {
	return p.trial == nil && result.Done && result.ID != p.told
}

// note takes in what the policy is told of a probe. One that is answered need not go on.
func (p *probing) note(result bwe.ProbeResult) {
	if !result.Done {
		return
	}
	if p.told = result.ID; p.plan.ID == result.ID && p.trial == nil {
		p.plan = bwe.Probe{}
	}
}

// startProbe begins a probe, if the policy asks for one.
func (s *Set) startProbe(now time.Time, choice allot.Choice) {
	plan := choice.Probe
	if !(plan.Rate > 0) || plan.Duration <= 0 || s.adaptation.dozing { // policies may be the user's
		return
	}
	p := &s.adaptation.probe
	if s.padder() == nil {
		s.try(now, plan, choice.Try)
		return
	}
	for _, snd := range s.senders {
		snd.account(now) // it was not sent for the probe
	}
	s.path.estimator.StartProbe(now, plan)
	p.plan, p.began, p.base = plan, now, s.wireBytes()
	if s.adaptation.sent.Mode < allot.Full { // there, sound must not wait for long
		p.base -= s.pace.onItsWay(now) // a burst that has just left is part of the rate
	}
	s.repace(now)
	s.steady = false
	s.wakeAt(now)
}

// padder returns the sender whose packets are repeated to probe; nil: there is none.
func (s *Set) padder() *Sender {
	for _, snd := range s.senders {
		if snd.pads() && snd.wire.out.RTX != 0 && snd.wire.out.To != nil && snd.reports.packets > 0 {
			return snd
		}
	}
	return nil
}

// pads reports whether the sender's packets may be repeated.
func (s *Sender) pads() bool {
	if kept := s.set.padding.kept; s.video && s.set.config.Node {
		return s.mode != idle || kept != nil && kept.source.layer == s.feed.layer
	}
	return s.adapts()
}

// wireBytes returns how many bytes were sent, with all headers.
func (s *Set) wireBytes() (n uint64) {
	for _, snd := range s.senders {
		r := &snd.reports
		n += r.wire + lowerHeaders*(r.packets+r.repairs)
	}
	return n
}

// pad sends padding, if a probe is under way. At its end sender reports go out: the round
// trips that are measured by them show the queue that the probe has made.
func (s *Set) pad(now time.Time) {
	a := s.adaptation
	if a == nil || !a.probes() {
		return
	}
	p := &a.probe
	elapsed := now.Sub(p.began)
	if elapsed > p.plan.Duration {
		p.plan = bwe.Probe{}
		for _, snd := range s.senders {
			snd.reports.stale = true
		}
		return
	}
	by := s.padder()
	due := p.plan.Rate / 8 * (elapsed + padEvery).Seconds()
	for range mostPadding {
		if by == nil || s.room != nil && !s.room() || float64(s.wireBytes()-p.base) >= due || !by.repeat(now) {
			return
		}
	}
}

// repeat sends one of the newest packets again as padding, and reports whether it could.
func (s *Sender) repeat(now time.Time) bool {
	p := &s.set.padding
	if p.kept != nil {
		s.resend(now, *p.kept, bwe.Padding)
		return true
	}
	highest := s.numbers.Highest()
	for range repeated {
		seq := highest - p.next%repeated
		p.next++
		if r, ok := s.sentAs(seq); ok {
			s.resend(now, r, bwe.Padding)
			return true
		}
	}
	return false
}

// sentAs returns the packet that was sent as number seq, if it is still here.
func (s *Sender) sentAs(seq uint64) (r repair, ok bool) {
	from, source, ok := s.numbers.Source(seq)
	if !ok {
		return r, false
	}
	p := from.source.layer.Lookup(source)
	if p == nil {
		return r, false
	}
	ts, ok := s.timeline.Sent(from.segment, p.Timestamp)
	return repair{packet: p, source: from.source, seq: seq, ts: uint32(ts)}, ok
}

// keepRepeat keeps a copy of the newest packet that was sent: soon it is known no more.
func (s *Sender) keepRepeat() {
	p := &s.set.padding
	if s.set.padder() != s {
		return
	}
	highest := s.numbers.Highest()
	for back := uint64(0); back < repeated && p.kept == nil; back++ {
		if r, ok := s.sentAs(highest - back); ok {
			kept := *r.packet
			kept.Payload, kept.Extensions = slices.Clone(kept.Payload), slices.Clone(kept.Extensions)
			r.packet = &kept
			p.kept = &r
		}
	}
}

// A trial is a probe without padding: a higher rung is sent for a moment. If nothing
// speaks against it, the policy is told that a probe has succeeded, and stays there.
type trial struct {
	id    uint32     // of the probe that the policy has asked for
	rung  allot.Rung // that is tried
	asked time.Time
	shown time.Time // since when it is sent
}

const (
	// trialWaits is how long a trial waits for a keyframe of the higher layer.
	trialWaits = 2 * time.Second
	// trialLasts is how long the higher rung is sent until it is judged, where there is
	// transport-wide feedback; reports come more seldom.
	trialLasts       = time.Second
	trialLastsCoarse = 2500 * time.Millisecond
	// trialProof is what a trial is worth: the policy wants more than what a layer costs,
	// since padding shows less than the layer itself.
	trialProof = 1.5
)

// try begins to try a rung above the present one: the next, or a higher one.
func (s *Set) try(now time.Time, plan bwe.Probe, least int) {
	a := s.adaptation
	next := max(a.ladder.Find(a.rung)+1, least)
	if next >= len(a.ladder) {
		return
	}
	from := a.sent
	a.sent = a.ladder[next]
	a.probe.trial = &trial{id: plan.ID, rung: a.sent, asked: now}
	s.carryOut(now, from, &bwe.State{})
}

// judgeTrial puts what a trial has shown in place of the estimator's last probe.
func (s *Set) judgeTrial(now time.Time, state *bwe.State) {
	t := s.adaptation.probe.trial
	if t == nil {
		return
	}
	if t.shown.IsZero() && s.shows(now) {
		t.shown = now
	}
	lasts := trialLasts
	if state.Source != bwe.TransportFeedback {
		lasts = trialLastsCoarse
	}
	state.Probe = bwe.ProbeResult{ID: t.id}
	switch {
	case state.Verdict == bwe.Overuse:
		state.Probe.Done, state.Probe.Harm = true, true
	case t.shown.IsZero() && now.Sub(t.asked) > trialWaits:
		state.Probe.Done, state.Probe.Unknown = true, true
	case !t.shown.IsZero() && now.Sub(t.shown) >= lasts:
		state.Probe.Done, state.Probe.Rate = true, trialProof*t.rung.Cost
	}
}

// shows reports whether all video is sent as the present rung says. A track without media
// does not count, but there must be one that does.
func (s *Set) shows(now time.Time) (some bool) {
	for _, snd := range s.senders {
		switch {
		case !snd.adapts() || !trackHasMedia(now, snd.line.Track):
		case snd.stopped.halted != nothing || snd.next.layer != nil || snd.mode.awaitsKeyframe() || snd.rises():
			return false
		default:
			some = true
		}
	}
	return some
}

// mostProof is what a probe asks for at most, as a multiple of what the rung costs that it is
// for.
const mostProof = 1.6

// probesInVain ends padding for more than is wanted, and reports whether a rung is tried that
// is not.
func (s *Set) probesInVain(wanted allot.Range) bool {
	a := s.adaptation
	if wanted == (allot.Range{}) {
		return false
	}
	top := len(a.ladder) - 1
	least, most := a.ladder[min(max(wanted.Least, 0), top)], a.ladder[min(max(wanted.Most, 0), top)]
	if !isBelow(a.rung, most) || a.probe.plan.Rate > mostProof*most.Cost {
		a.probe.plan = bwe.Probe{}
	}
	t := a.probe.trial
	return t != nil && (isBelow(t.rung, least) || isBelow(most, t.rung))
}

// endTrial ends a trial that was judged, or that the policy goes against. It reports whether
// there was one.
func (s *Set) endTrial(against bool, state *bwe.State) bool {
	p := &s.adaptation.probe
	if p.trial == nil || !against && !state.Probe.Done {
		return false
	}
	p.trial = nil
	return true
}
