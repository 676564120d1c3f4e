package scoreboard

import (
	"math/rand/v2"
	"time"

	"github.com/deltacdn/delta/internal/rtp/ratemeter"
	"github.com/deltacdn/delta/internal/send/allot"
)

// The sizes of packets, in bytes.
const (
	payloadSize = 1150
	rtpSize     = 12 + 12 + 16 // header, extensions, tag
	ipSize      = 28
	audioSize   = 100 + rtpSize + ipSize // every 20 ms: 40 kbit/s and headers
)

const (
	frameTime  = time.Second / 30
	audioTime  = 20 * time.Millisecond
	keyframes  = 6.0 // a keyframe is as large as this many frames
	keyAnswer  = 60 * time.Millisecond
	noise      = 0.15
	forget     = 0.05 // of what a keyframe was too large, each frame that follows is smaller by this
	soundsCost = audioSize * 8 * 50
	soundsRate = 100 * 8 * 50 // payload
)

// A frame is a frame of a layer.
type frame struct {
	layer    int
	number   int // in its layer
	needs    int // the number of the frame that it refers to; -1: none
	temporal int
	captured time.Duration
	packets  int
	size     int // of each packet, with all headers
}

// A publisher encodes layers, and tells its viewers of each frame.
type publisher struct {
	*loop
	rng      *rand.Rand
	keyframe float64 // the size of a keyframe, in frames
	encoders []encoder
	viewers  []*sender
}

// An encoder makes the frames of one layer.
type encoder struct {
	rate     float64 // bits a second, payload
	temporal bool    // three temporal layers
	number   int
	last     int // the number of the last frame of the lowest temporal layer
	middle   int // and of the last of the two lowest
	wanted   time.Duration
	debt     float64 // bytes that a keyframe was too large
	key      int     // the size of the last keyframe, with all headers, in bytes
	meter    ratemeter.Meter
	heights  int
}

func newPublisher(l *loop, rng *rand.Rand, temporal bool, rates ...float64) *publisher {
	p := &publisher{loop: l, rng: rng, keyframe: keyframes}
	for i, r := range rates {
		p.encoders = append(p.encoders, encoder{rate: r, temporal: temporal, wanted: 0, heights: 180 << i})
	}
	l.after(0, p.encode)
	return p
}

// request asks for a keyframe of a layer.
func (p *publisher) request(layer int) {
	if e := &p.encoders[layer]; e.wanted < 0 {
		e.wanted = p.now + keyAnswer
	}
}

func (p *publisher) encode() {
	for i := range p.encoders {
		f := p.encoders[i].next(i, p.now, p.rng, p.keyframe)
		for _, v := range p.viewers {
			v.frame(f)
		}
	}
	p.after(frameTime, p.encode)
}

// temporals is the temporal layer of four frames in turn, and their sizes.
var (
	temporals = [4]int{0, 2, 1, 2}
	weights   = [4]float64{1.6, 0.8, 0.8, 0.8}
)

func (e *encoder) next(layer int, now time.Duration, rng *rand.Rand, keyframe float64) frame {
	f := frame{layer: layer, number: e.number, needs: e.number - 1, captured: now}
	mean := e.rate / 8 * frameTime.Seconds()
	size := mean * (1 + noise*(2*rng.Float64()-1))
	if e.temporal {
		turn := e.number % 4
		f.temporal = temporals[turn]
		size *= weights[turn]
		f.needs = e.last
		if f.temporal == 2 {
			f.needs = max(e.last, e.middle)
		}
	}
	switch key := e.wanted >= 0 && now >= e.wanted; {
	case key && f.temporal == 0:
		e.wanted = -1
		f.needs = -1
		size = keyframe * mean
		e.debt += size - mean
	case e.debt > 0:
		less := min(forget*keyframe*mean, e.debt, size/2)
		e.debt -= less
		size -= less
	}
	if f.temporal == 0 {
		e.last = e.number
	}
	if f.temporal <= 1 {
		e.middle = e.number
	}
	e.number++
	f.packets = max(1, int(size+payloadSize-1)/payloadSize)
	f.size = int(size)/f.packets + rtpSize + ipSize
	if f.needs < 0 {
		e.key = f.packets * f.size
	}
	e.meter.Add(now, uint8(f.temporal), f.packets*f.size)
	return f
}

// layers returns what there is to choose from.
func (p *publisher) layers(all []allot.Layer) []allot.Layer {
	all = all[:0]
	for i := range p.encoders {
		e := &p.encoders[i]
		cost := e.meter.Bitrates(p.now)
		l := allot.Layer{Height: e.heights, Bitrate: cost.Whole(), Keyframe: float64(8 * e.key)}
		if l.Bitrate == 0 {
			l.Bitrate = 1.1 * e.rate // nothing has been measured
		}
		if e.temporal {
			l.Temporal = []float64{cost[0], cost[1], l.Bitrate}
		}
		all = append(all, l)
	}
	return all
}
