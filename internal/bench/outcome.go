package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// An outcome is what became of the people who wanted to view at an edge on a small
// machine, in the measured window.
type outcome struct {
	core        float64 // that the edge has
	first, last metered
	memory      float64 // KiB, at most
	playing     float64 // viewers, in the mean
	visits      []*visit
	latency     []time.Duration // sorted
	refused     int64
	failures    map[string]int
	stalled     time.Duration // for which the machine did something else, at most
}

const (
	mostMemory = 512 << 10 // KiB that the edge may take
	mostOwn    = 0.8       // of its core that the load generator may take
)

// sum is of some of the visits.
type sum struct {
	visits int
	flowCount
	shed uint64
}

func (r *outcome) sum(of func(*visit) bool) (s sum) {
	for _, v := range r.visits {
		if !of(v) {
			continue
		}
		s.visits++
		s.shed += v.shed
		s.packets += v.got.packets
		s.missing += v.got.missing
		s.duplicates += v.got.duplicates
		s.jumps += v.got.jumps
	}
	return s
}

func isKept(v *visit) bool { return v.shed == 0 }

func (r *outcome) String() string {
	var b strings.Builder
	row := func(name string, s sum) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d |\n", name, s.visits, s.shed, s.packets, s.missing, s.duplicates, s.jumps)
	}
	b.WriteString("\n| viewers | sessions | times shed | packets | missing | duplicate | frames left out |\n|---|---|---|---|---|---|---|\n")
	row("kept", r.sum(isKept))
	row("of them there when the window began", r.sum(func(v *visit) bool { return isKept(v) && v.atStart }))
	row("shed", r.sum(func(v *visit) bool { return !isKept(v) }))
	row("of them there when the window began", r.sum(func(v *visit) bool { return !isKept(v) && v.atStart }))
	fmt.Fprintf(&b, "\nRefused with 503 and Retry-After: %d times. The edge took %.0f %% of its share and was throttled %.0f %% of the time; it had %.0f MiB at most. The load generator took %.0f %% of its core.\n",
		r.refused, 100*r.last.cpu/r.core, 100*r.last.throttled, r.memory/1024, 100*r.last.own)
	if len(r.latency) > 0 {
		fmt.Fprintf(&b, "Latency p50 / p99: %.0f / %.0f ms.\n", ms(quantile(r.latency, 50)), ms(quantile(r.latency, 99)))
	}
	fmt.Fprintf(&b, "%.0f viewers played in the mean.\n", r.playing)
	fmt.Fprintf(&b, "The edge's core was busy with something else for %.0f ms at a time, at most.\n", ms(r.stalled))
	for _, v := range r.visits {
		if !isKept(v) {
			fmt.Fprintf(&b, "- %s was shed %d times, the first time %.0f s after it came: the edge was behind\n", v.name, v.shed, v.shedAt.Sub(v.begun).Seconds())
		}
	}
	for what, n := range r.failures {
		fmt.Fprintf(&b, "%d times: %s\n", n, what)
	}
	return b.String()
}

// bars are what differs between long and short runs.
type bars struct {
	kept    float64 // share of the sessions
	playing float64 // viewers, in the mean
	// stalled is for how long the machine may do something else. An edge that could not run
	// for longer leaves things out, and learns from that to let fewer in: if it let in or kept
	// too few then, that is errNotJudged. Zero: it always counts.
	stalled time.Duration
}

// errNotJudged is returned when too few were let in or kept, and the machine had other work.
var errNotJudged = errors.New("the machine had other work, so it is not known whether the edge is at fault")

func (b bars) judges(r *outcome) bool { return b.stalled == 0 || r.stalled <= b.stalled }

// check returns what is not as it should be.
func (r *outcome) check(b bars) error {
	var all []error
	fail := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	kept := r.sum(isKept)
	fail(r.memory > mostMemory, "the edge had %.0f MiB", r.memory/1024)
	fail(r.last.own > mostOwn, "the load generator was the limit: it took %.0f %% of its core", 100*r.last.own)
	fail(r.refused == 0, "nobody was refused, though there were twice as many as fit")
	fail(len(r.failures) > 0, "not all were served or refused: %v", r.failures)
	fail(kept.missing+kept.duplicates+kept.jumps > 0, "viewers that were kept lost something: %+v", kept.flowCount)
	faults := len(all)
	fail(r.playing < b.playing, "only %.0f viewers played in the mean, and there was room for %.0f at least", r.playing, b.playing)
	fail(float64(kept.visits) < float64(len(r.visits))*b.kept, "only %d of %d sessions were kept", kept.visits, len(r.visits))
	if faults == 0 && len(all) > 0 && !b.judges(r) {
		all = append(all, errNotJudged)
	}
	return errors.Join(all...)
}
