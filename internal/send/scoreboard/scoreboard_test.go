package scoreboard

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

const seeds = 4

// TestScoreboard runs the short plans. The others run with the build tag long.
func TestScoreboard(t *testing.T) {
	compare(t, "testdata/short.txt", false)
}

// compare runs plans with all seeds, and compares their lines with a file.
func compare(t *testing.T, file string, long bool) {
	if raceEnabled {
		t.Skip("one goroutine cannot race")
	}
	var lines []string
	for _, k := range []kind{chromium, rembOnly, reportsOnly} {
		for _, p := range allPlans() {
			if isLong := p.long || k != chromium && !p.everywhere; isLong == long {
				lines = append(lines, p.score(k))
			}
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	}
	committed, err := os.ReadFile(file)
	require.NoError(t, err)
	want := strings.Split(strings.TrimSpace(string(committed)), "\n")
	for i := range max(len(want), len(lines)) {
		if w, g := at(want, i), at(lines, i); w != g {
			t.Errorf("- %s\n+ %s", w, g)
		}
	}
	if t.Failed() {
		t.Log("run with -update, and commit the difference if it is meant")
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// score runs a plan with all seeds.
func (p plan) score(k kind) string {
	c := &check{plan: p.Name, kind: k}
	var all []*outcome
	for seed := range uint64(seeds) {
		o := p.run(k, seed+1)
		p.judge(c, o)
		all = append(all, o)
	}
	return line(k, p, all) + c.missed()
}

// judge notes the bars that an outcome misses: those of the plan, and that of all plans.
func (p plan) judge(c *check, o *outcome) {
	p.bars(c, o)
	if !p.ends {
		c.stays(o)
	}
}

// line sums up a plan over all seeds and viewers: means of shares, the worst of times.
func line(k kind, p plan, all []*outcome) string {
	var use, frozen, playable, undecodable, probes, repeats, loss float64
	var rise, fall time.Duration
	var queue float64
	var switches, viewers int
	held := map[int]time.Duration{}
	var total time.Duration
	for _, o := range all {
		var media float64
		for _, v := range o.viewers {
			viewers++
			media += float64(v.media * 8)
			rise, fall = max(rise, v.slowest(true)), max(fall, v.slowest(false))
			queue = max(queue, percentile(v.waitsMs, 0.95))
			switches += v.switches(v.began + warm)
			loss = max(loss, part(v.dropped, v.counted))
			frozen = max(frozen, v.frozen.Seconds())
			playable += part(v.playable, v.frames)
			undecodable += float64(v.undecodable)
			probes += part(v.probes, v.media)
			repeats += part(v.repeats, v.media)
			for l, d := range v.held {
				held[l] += d
				total += d
			}
		}
		use += media / max(o.carried, 1) / float64(len(all))
	}
	n := float64(viewers)
	layers := ""
	for l := -1; l < 4; l++ {
		layers += fmt.Sprintf(" %3.0f", 100*float64(held[l])/float64(total))
	}
	return fmt.Sprintf("%-8s %-24s use %3.0f%% layers%s fall %4.1fs rise %4.1fs queue %3.0fms loss %4.1f%% frozen %4.1fs playable %5.1f%% undecodable %4.1f probes %4.1f%% repeats %4.1f%% switches %4.1f",
		k, p.Name, 100*use, layers, fall.Seconds(), rise.Seconds(), queue, 100*loss, frozen, 100*playable/n, undecodable/n, 100*probes/n, 100*repeats/n, float64(switches)/n)
}

func part(a, b int) float64 { return float64(a) / float64(max(b, 1)) }

// A check notes which bars are missed.
type check struct {
	plan  string
	kind  kind
	names []string
}

// times is the factor by which viewers without transport-wide feedback may take longer:
// those with reports alone, and those with REMB.
func (c *check) times() time.Duration {
	if c.kind == chromium {
		return 1
	}
	return 3
}

func (c *check) missed() string {
	if len(c.names) == 0 {
		return ""
	}
	return " | missed: " + strings.Join(c.names, ", ")
}

func (c *check) want(ok bool, format string, args ...any) {
	name := fmt.Sprintf(format, args...)
	if !ok {
		c.names = append(c.names, name)
	}
}

func (c *check) falls(o *outcome, most time.Duration) {
	for _, v := range o.viewers {
		c.want(v.slowest(false) <= c.times()*most && !v.missed(false), "fall %.1fs", v.slowest(false).Seconds())
	}
}

func (c *check) rises(o *outcome, most time.Duration) {
	for _, v := range o.viewers {
		c.want(v.slowest(true) <= c.times()*most && !v.missed(true), "rise %.1fs", v.slowest(true).Seconds())
	}
}

func (c *check) queue(o *outcome, most float64) {
	for _, v := range o.viewers {
		p := percentile(v.waitsMs, 0.95)
		c.want(p <= most, "queue %.0fms", p)
	}
}

func (c *check) loss(o *outcome, most float64) {
	for _, v := range o.viewers {
		c.want(part(v.dropped, v.counted) <= most, "loss %.1f%%", 100*part(v.dropped, v.counted))
	}
}

func (c *check) fits(o *outcome, least float64, layer int) {
	for _, v := range o.viewers {
		got := v.held[layer].Seconds() / o.length.Seconds()
		c.want(got >= 1-float64(c.times())*(1-least), "fits %.0f%%", 100*got)
	}
}

// switches bounds how often the layer changes in a minute, after the start. Each change of the
// path calls for one change of the layer, which is not counted.
func (c *check) switches(o *outcome, most float64) {
	for _, v := range o.viewers {
		needless := max(0, v.switches(v.began+warm)-o.changes)
		got := float64(needless) / (o.length - warm).Minutes()
		c.want(got <= most, "%.1f switches/min", got)
	}
}

// total bounds the changes at all.
func (c *check) total(o *outcome, most int) {
	for _, v := range o.viewers {
		c.want(v.switches(v.began) <= most, "%d switches", v.switches(v.began))
	}
}

// down bounds the steps down.
func (c *check) down(o *outcome, most int) {
	for _, v := range o.viewers {
		n := 0
		for _, s := range v.steps {
			if s.to.Cost < s.from.Cost && s.reason != allot.Start && s.reason != allot.Limited {
				n++
			}
		}
		c.want(n <= most, "%d down", n)
	}
}

func (c *check) playable(o *outcome, least float64) {
	for _, v := range o.viewers {
		c.want(part(v.playable, v.frames) >= least, "playable %.1f%%", 100*part(v.playable, v.frames))
	}
}

// never says that a layer must not be sent at all but for the start.
func (c *check) never(o *outcome, layer int) {
	for _, v := range o.viewers {
		c.want(v.held[layer] < 500*ms, "stopped %.1fs", v.held[layer].Seconds())
	}
}

// together bounds how far the viewers' layers are apart at the end.
func (c *check) together(o *outcome, most int) {
	low, high := 99, -99
	for _, v := range o.viewers {
		low, high = min(low, v.rung), max(high, v.rung)
	}
	c.want(high-low <= most, "%d layers apart", high-low)
}

// sum says how much of the capacity the viewers' layers at the end have to take.
func (c *check) sum(o *outcome, least float64) {
	var all float64
	for _, v := range o.viewers {
		if v.rung >= 0 {
			all += kbits[v.rung] + soundsCost
		}
	}
	got := all / (o.carried / o.length.Seconds())
	c.want(got >= least, "sum %.0f%%", 100*got)
}

// share is which part of its fair share a viewer has to get.
func (c *check) share(o *outcome, least float64) {
	for _, v := range o.viewers {
		got := float64(8*v.arrived) / o.fair
		c.want(got >= least, "share %.0f%%", 100*got)
	}
}

// stays says that no session may end.
func (c *check) stays(o *outcome) {
	for _, v := range o.viewers {
		c.want(v.ended == 0, "ended %.1fs", (v.ended - lead).Seconds())
	}
}

// ends says between which times of the plan each session must end.
func (c *check) ends(o *outcome, least, most time.Duration) {
	for _, v := range o.viewers {
		at := v.ended - lead
		c.want(at >= least && at <= most, "ended %.1fs", at.Seconds())
	}
}

// back bounds the time until there is a picture again.
func (c *check) back(o *outcome, most time.Duration) {
	for _, v := range o.viewers {
		c.want(v.firstShown > 0 && v.firstShown-v.returned <= c.times()*most, "picture %.1fs", (v.firstShown - v.returned).Seconds())
		c.want(v.firstSound > 0 && v.firstSound <= v.firstShown, "sound after picture")
	}
}

func (c *check) sound(o *outcome, lost int, gap time.Duration) {
	for _, v := range o.viewers {
		c.want(v.audioLost <= lost, "sound lost %d", v.audioLost)
		c.want(v.audioGap <= gap, "sound gap %dms", v.audioGap.Milliseconds())
	}
}

func (c *check) late(o *outcome, most float64) {
	for _, v := range o.viewers {
		p := percentile(v.lateness, 0.99)
		c.want(p <= most, "late %.0fms", p)
	}
}

// moves says for how much of the time there has to be a moving picture.
func (c *check) moves(o *outcome, least float64) {
	for _, v := range o.viewers {
		got := v.held[0].Seconds() / o.length.Seconds()
		c.want(got >= least, "moves %.0f%%", 100*got)
	}
}

// drops bounds the packets that the queue dropped at all.
func (c *check) drops(o *outcome, most int) {
	for _, v := range o.viewers {
		c.want(v.drops <= most, "%d dropped", v.drops)
	}
}
