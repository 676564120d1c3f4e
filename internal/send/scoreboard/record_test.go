package scoreboard

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// settled is how long after the start, or a fall of the capacity, queue and loss
// count.
const (
	settled = 2 * time.Second
	warm    = 15 * time.Second // from when switches count
)

// trace prints each step, for who tunes.
var trace = os.Getenv("SCOREBOARD_TRACE") != ""

// A record is what came of one viewer.
type record struct {
	name    string
	began   time.Duration // of the viewer
	fell    time.Duration // when the capacity last fell
	rung    int           // the layer that is sent; -1: none
	since   time.Duration
	held    map[int]time.Duration // how long each layer was sent
	steps   []step
	bytes   int // sent
	arrived int // bytes that were not dropped
	media   int // bytes of them that were not sent to probe
	probes  int // bytes
	repeats int

	waitsMs []float32 // of packets that count
	counted int       // packets that count
	dropped int       // of them, by the queue
	drops   int       // all packets that the queue dropped

	frames, playable, undecodable int
	lastShown                     time.Duration
	frozen                        time.Duration
	paused                        bool
	lateness                      []float32 // ms

	lastAudio    time.Duration
	lastAudioSeq int
	audioGap     time.Duration
	audioLost    int

	ended                  time.Duration // when the session was, for slowness; 0: it was not
	returned               time.Duration // when the path came back
	firstShown, firstSound time.Duration // after that

	pending []fit
	fits    []fit
}

// A step is a change of the rung.
type step struct {
	at       time.Duration
	from, to allot.Rung
	reason   allot.Reason
}

// A fit is how long it took until the fitting layer was sent after the capacity had
// changed.
type fit struct {
	at     time.Duration
	layer  int
	rise   bool
	took   time.Duration
	missed bool
}

func newRecord(name string, began time.Duration) *record {
	return &record{name: name, began: began, fell: began, rung: -1, since: began, held: map[int]time.Duration{}, lastAudioSeq: -1}
}

func (r *record) step(now time.Duration, from, to allot.Rung, reason allot.Reason, s bwe.State) {
	r.steps = append(r.steps, step{now, from, to, reason})
	r.paused = to.Mode <= allot.Keyframes
	if to.Layer < 0 {
		r.shows(now, -1)
	}
	if trace {
		fmt.Printf("%s %7.2fs %d/%d→%d/%d %-10s est %4.0f acked %4.0f sent %4.0f queue %3d rtt %d loss %.2f/%.2f source %d probe %+v\n",
			r.name, now.Seconds(), from.Layer, from.Mode, to.Layer, to.Mode, reason, s.Bitrate/1e3, s.Acknowledged/1e3, s.Sent/1e3,
			s.Queue.Milliseconds(), s.RoundTrip.Milliseconds(), s.Loss, s.Inherent, s.Source, s.Probe)
	}
}

// shows notes that a layer is sent from now on.
func (r *record) shows(now time.Duration, layer int) {
	r.held[r.rung] += now - r.since
	r.rung, r.since = layer, now
	r.check(now)
}

// capacity notes that the capacity has changed, and which layer fits.
func (r *record) capacity(now time.Duration, fitting int, rise bool) {
	if !rise {
		r.fell = now
	}
	for _, f := range r.pending {
		f.missed = true
		f.took = now - f.at
		r.fits = append(r.fits, f)
	}
	r.pending = append(r.pending[:0], fit{at: now, layer: fitting, rise: rise})
	r.check(now)
}

func (r *record) check(now time.Duration) {
	r.pending = slices.DeleteFunc(r.pending, func(f fit) bool {
		if r.rung != f.layer {
			return false
		}
		f.took = now - f.at
		r.fits = append(r.fits, f)
		return true
	})
}

func (r *record) counts(now time.Duration) bool { return now-r.fell >= settled }

func (r *record) waits(now, wait time.Duration) {
	if r.counts(now) {
		r.waitsMs = append(r.waitsMs, float32(wait.Seconds()*1000))
	}
}

func (r *record) sent(now time.Duration, p packet, fate netem.Fate) {
	r.bytes += p.size
	if fate == netem.Passed {
		r.arrived += p.size
	}
	switch {
	case p.stream != repair:
		r.media += p.size
	case p.origin < 0:
		r.probes += p.size
	default:
		r.repeats += p.size
	}
	if fate == netem.QueueFull {
		r.drops++
	}
	if r.counts(now) {
		r.counted++
		if fate == netem.QueueFull {
			r.dropped++
		}
	}
}

// show notes a frame that is shown.
func (r *record) show(now, captured, wire time.Duration) {
	if gap := now - r.lastShown; r.lastShown != 0 && !r.paused && gap > freezeFrom {
		r.frozen += gap
	}
	r.lastShown = now
	if r.returned > 0 && r.firstShown == 0 {
		r.firstShown = now
	}
	if now-r.began > settled {
		r.lateness = append(r.lateness, float32((now-captured-wire).Seconds()*1000))
	}
}

// audio notes a packet of sound.
func (r *record) audio(seq int, now, sent time.Duration) {
	if r.lastAudioSeq >= 0 && seq > r.lastAudioSeq && now-r.began > settled {
		r.audioGap = max(r.audioGap, now-r.lastAudio)
		if trace && now-r.lastAudio > 40*time.Millisecond {
			fmt.Printf("%s %7.2fs sound gap %v\n", r.name, now.Seconds(), now-r.lastAudio)
		}
		r.audioLost += seq - r.lastAudioSeq - 1
	}
	if r.returned > 0 && r.firstSound == 0 {
		r.firstSound = now
	}
	r.lastAudioSeq, r.lastAudio = max(seq, r.lastAudioSeq), now
}

// finish closes the record.
func (r *record) finish(now time.Duration) {
	r.shows(now, r.rung)
	for _, f := range r.pending {
		f.missed, f.took = true, now-f.at
		r.fits = append(r.fits, f)
	}
	r.pending = nil
}

// switches returns how many steps changed the layer, from a time on.
func (r *record) switches(from time.Duration) (count int) {
	for _, s := range r.steps {
		if s.at >= from && s.from != s.to && s.reason != allot.Start {
			count++
		}
	}
	return count
}

// slowest returns the longest time to fit after a rise, or a fall.
func (r *record) slowest(rise bool) (most time.Duration) {
	for _, f := range r.fits {
		if f.rise == rise {
			most = max(most, f.took)
		}
	}
	return most
}

// missed reports whether a fitting layer was not sent until the capacity changed again.
func (r *record) missed(rise bool) bool {
	return slices.ContainsFunc(r.fits, func(f fit) bool { return f.rise == rise && f.missed })
}

// percentile returns the p-th of values, which it sorts.
func percentile(values []float32, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return float64(values[min(len(values)-1, int(p*float64(len(values))))])
}
