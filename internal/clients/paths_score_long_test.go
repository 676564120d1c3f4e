//go:build long

package clients

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deltacdn/delta/internal/netem"
)

const (
	freezeFrom = 300 * time.Millisecond // as the scoreboard has it
	settled    = 2 * time.Second        // from when queue and loss count, after the start and after a fall
	counted    = 15 * time.Second       // from when switches count
)

// A score is what a run is judged by.
type score struct {
	use      float64 // share of what the path could have carried
	held     map[int]time.Duration
	fall     time.Duration // the slowest time to fit
	rise     time.Duration
	queue    time.Duration // that packets waited in, p95
	loss     float64       // by the queue
	first    time.Duration // frame, from the start
	frozen   time.Duration
	freezes  int
	fps      float64
	sound    float64 // share of it that was concealed or lost
	switches int     // a minute
	changes  int     // of the path's rate
	ended    []error
}

func (r *run) score() score {
	s := score{held: map[int]time.Duration{}, ended: r.ended}
	r.scoreLayers(&s)
	r.scoreFits(&s)
	r.scorePackets(&s)
	r.scoreFrames(&s)
	if n := len(r.seen.Samples); n > 0 {
		last := r.seen.Samples[n-1]
		if last.Samples > 0 {
			s.sound = float64(last.Concealed) / float64(last.Samples)
		} else if all := last.AudioPackets + last.AudioLost; all > 0 {
			s.sound = float64(last.AudioLost) / float64(all)
		}
	}
	return s
}

// scoreLayers sums up how long each layer was sent, from the first packet on.
func (r *run) scoreLayers(s *score) {
	began := false
	for i, l := range r.layers {
		began = began || l.layer >= 0
		if !began {
			continue
		}
		until := r.length
		if i+1 < len(r.layers) {
			until = r.layers[i+1].at
		}
		s.held[l.layer] += until - l.at
		if l.at > counted {
			s.switches++
		}
	}
}

// scoreFits finds how long it took until the fitting layer was sent, after the start
// and after each change of the rate. After the start and a rise a higher one will do: the
// bitrate that makes a layer fit is that of its most expensive second.
func (r *run) scoreFits(s *score) {
	ends := []time.Duration{}
	for _, step := range r.plan.Steps {
		if r.plan.At(step.At).Path.Rate != r.plan.At(step.At-1).Path.Rate {
			ends = append(ends, step.At)
		}
	}
	s.changes = len(ends)
	ends = append(ends, r.length)
	for i, from := range append([]time.Duration{0}, ends[:len(ends)-1]...) {
		if i > 0 && r.plan.At(from).Path.Rate < r.plan.At(from-1).Path.Rate {
			s.fall = max(s.fall, r.fits(from, ends[i], func(layer, fitting int) bool { return layer == fitting }))
		} else {
			s.rise = max(s.rise, r.fits(from, ends[i], func(layer, fitting int) bool { return layer >= fitting }))
		}
	}
}

// fits returns how long after from a layer was sent that will do beside the fitting one; if
// none was until then, the whole time.
func (r *run) fits(from, until time.Duration, will func(layer, fitting int) bool) time.Duration {
	fitting := r.clip.fitting(r.plan.At(from).Path.Rate)
	do := func(layer int) bool { return layer >= 0 && will(layer, fitting) }
	layer := -1
	for _, l := range r.layers {
		if l.at >= until {
			break
		}
		if l.at <= from {
			layer = l.layer
			continue
		}
		if do(layer) {
			break
		}
		if layer = l.layer; do(layer) {
			return l.at - from
		}
	}
	if do(layer) {
		return 0
	}
	return until - from
}

// scorePackets sums up what the path saw.
func (r *run) scorePackets(s *score) {
	var waits []time.Duration
	passed, dropped := 0, 0
	for _, p := range r.packets {
		if p.Fate == netem.Passed {
			passed += p.Size
		}
		if !r.isSettled(p.At.Sub(r.begun)) {
			continue
		}
		waits = append(waits, p.Wait)
		if p.Fate == netem.QueueFull {
			dropped++
		}
	}
	slices.Sort(waits)
	if n := len(waits); n > 0 {
		s.queue = waits[n*95/100]
		s.loss = float64(dropped) / float64(n)
	}
	capacity := 0.0
	const slice = 100 * time.Millisecond
	for at := time.Duration(0); at < r.length; at += slice {
		capacity += float64(r.plan.At(at).Path.Rate) * slice.Seconds()
	}
	if capacity > 0 {
		s.use = float64(passed*8) / capacity
	}
}

// isSettled reports whether queue and loss count at a time.
func (r *run) isSettled(at time.Duration) bool {
	if at < settled {
		return false
	}
	for _, step := range r.plan.Steps {
		fell := r.plan.At(step.At).Path.Rate < r.plan.At(step.At-1).Path.Rate
		if fell && at >= step.At && at < step.At+settled {
			return false
		}
	}
	return true
}

// scoreFrames sums up the times without a new frame, from the first to the end.
func (r *run) scoreFrames(s *score) {
	s.first = r.length
	last, shown := time.Duration(-1), 0
	gap := func(until time.Duration) {
		if d := until - last; last >= 0 && d > freezeFrom {
			s.frozen += d
			s.freezes++
		}
	}
	for _, f := range r.seen.Frames {
		at := r.since(f)
		if at > r.length {
			break
		}
		if last < 0 {
			s.first = at
		}
		gap(at)
		last = at
		shown++
	}
	gap(r.length)
	if last < 0 {
		s.frozen = r.length
		return
	}
	s.fps = float64(shown) / (r.length - s.first).Seconds()
}

// line is the run's line of the table.
func (r *run) line(client string) string {
	s := r.score()
	layers, total := "", time.Duration(0)
	for _, d := range s.held {
		total += d
	}
	for l := -1; l < len(r.clip.rates); l++ {
		layers += fmt.Sprintf(" %3.0f", 100*s.held[l].Seconds()/max(total.Seconds(), 1e-9))
	}
	if len(r.clip.rates) == 1 {
		layers += "        "
	}
	text := fmt.Sprintf("%-8s %-32s use %3.0f%% layers%s fall %4.1fs rise %4.1fs queue %3dms loss %4.1f%% first %4.1fs frozen %4.1fs in %2d fps %4.1f sound %5.2f%% switches %2d ended %d late %.1fms stalled %.1fs",
		client, r.plan.Name, 100*s.use, layers, s.fall.Seconds(), s.rise.Seconds(), s.queue.Milliseconds(), 100*s.loss,
		s.first.Seconds(), s.frozen.Seconds(), s.freezes, s.fps, 100*s.sound, s.switches, len(s.ended), r.late.Seconds()*1000, r.stalled.Seconds())
	for _, err := range s.ended {
		text += fmt.Sprintf(" (%v)", err)
	}
	return text + r.missed(s)
}

// missed names the bars that a run misses: those of the virtual plans, times two.
func (r *run) missed(s score) string {
	var all []string
	miss := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if len(s.ended) > 0 {
		miss("session ended")
	}
	lossy := r.plan.Path.Loss >= 0.1
	if s.frozen > time.Second && !lossy && len(r.clip.rates) > 1 {
		miss("frozen %.1fs", s.frozen.Seconds())
	}
	if s.changes > 0 {
		if s.fall > 2*time.Second {
			miss("fall %.1fs", s.fall.Seconds())
		}
		if s.rise > 16*time.Second {
			miss("rise %.1fs", s.rise.Seconds())
		}
		if s.queue > 200*time.Millisecond {
			miss("queue %dms", s.queue.Milliseconds())
		}
		if s.loss > 0.04 {
			miss("loss %.1f%%", 100*s.loss)
		}
	}
	if all == nil {
		return ""
	}
	return " | missed: " + strings.Join(all, ", ")
}
