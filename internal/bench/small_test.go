package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// An edge on a very small machine has twice as many viewers as fit: it refuses some,
// those that it has shed know it, and all others lose nothing. The long form is
// TestSoakSmall.
func TestSmallMachine(t *testing.T) {
	b, out := limited(t)
	err := b.small(t.Context(), shortRun())
	if err != nil { // a host that takes the core away for seconds is no fault of the edge's: it has to happen twice
		t.Log(err)
		err = b.small(t.Context(), shortRun())
	}
	t.Log(out)
	if err != nil {
		t.Fatal(err)
	}
}

// limited returns a benchmark with its servers, where processes can be limited.
func limited(t *testing.T) (*bench, *strings.Builder) {
	t.Helper()
	g, err := newCgroup(machine{core: halfCore, period: cfsPeriod, memory: twoGiB})
	if errors.Is(err, errNoCgroup) && os.Getenv("DELTA_REQUIRE_CGROUP") != "1" {
		t.Skip("skipped, as this system limits no processes for us (DELTA_REQUIRE_CGROUP=1 forbids that):", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := g.remove(); err != nil {
		t.Fatal(err)
	}
	b, out := tiny(t)
	b.load.gro = true
	b.binary = t.TempDir() + "/server"
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, out
}

// What each of the bars is there for fails it.
func TestSmallBars(t *testing.T) {
	t.Parallel()
	good := func() outcome {
		r := outcome{core: halfCore, memory: 100 << 10, refused: 3, playing: 10}
		for range 20 {
			r.visits = append(r.visits, &visit{got: flowCount{packets: 1000}})
		}
		r.visits = append(r.visits, &visit{shed: 1, got: flowCount{packets: 1000, jumps: 1}})
		return r
	}
	r := good()
	if err := r.check(bars{kept: 0.9, playing: 10}); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(r *outcome){
		"MiB":                    func(r *outcome) { r.memory = 513 << 10 },
		"load generator":         func(r *outcome) { r.last.own = 0.81 },
		"only 9 viewers played":  func(r *outcome) { r.playing = 9 },
		"nobody was refused":     func(r *outcome) { r.refused = 0 },
		"not all were served":    func(r *outcome) { r.failures = map[string]int{"500": 1} },
		"lost something":         func(r *outcome) { r.visits[0].got.missing = 1 },
		"kept lost something: {": func(r *outcome) { r.visits[1].got.duplicates = 1 },
		"were kept lost":         func(r *outcome) { r.visits[2].got.jumps = 1 },
		"17 of 21 sessions":      func(r *outcome) { r.visits[0].shed, r.visits[1].shed, r.visits[2].shed = 1, 1, 1 },
	} {
		r := good()
		spoil(&r)
		if err := r.check(bars{kept: 0.9, playing: 10}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// An edge that could not run for a while may have room for fewer.
	r = good()
	r.stalled, r.playing = time.Second, 9
	r.visits[0].shed, r.visits[1].shed, r.visits[2].shed = 1, 1, 1
	b := bars{kept: 0.9, playing: 10, stalled: time.Second}
	if err := r.check(b); err == nil || errors.Is(err, errNotJudged) {
		t.Errorf("a stall of up to the bar excuses no miss: %v", err)
	}
	r.stalled++
	if err := r.check(b); !errors.Is(err, errNotJudged) {
		t.Error(err)
	}
	r.visits[3].got.missing = 1
	if err := r.check(b); err == nil || errors.Is(err, errNotJudged) {
		t.Error("viewers that are kept lose nothing, however busy the machine is")
	}
}
