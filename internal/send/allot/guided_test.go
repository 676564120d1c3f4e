package allot

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/bwe"
)

// newGuided returns a viewer whose policy wants what is at want.
func newGuided(t *testing.T, c Config, want *Range) *viewer {
	v := &viewer{t: t, policy: NewGuided(c, func(View) Decision { return Decision{Fit: true, Range: *want} }), now: time.Unix(1000, 0), layers: full}
	v.state = bwe.State{Source: bwe.TransportFeedback, RoundTrip: 100 * ms, Bitrate: 5e6}
	v.look()
	return v
}

// answers answers probes for a while.
func (v *viewer) answers(times int) {
	for range times {
		if v.await(5 * time.Second); v.last.Probe.Rate > 0 {
			v.answer(1e9, false)
		}
	}
}

// What is wanted bounds the first choice, each climb, and what is probed for. Less is sent at
// once; more after a probe.
func TestGuidedMost(t *testing.T) {
	want := Range{Most: mid}
	v := newGuided(t, Config{Strategy: Quality}, &want)
	require.Equal(t, mid, v.rung)
	v.answers(10)
	require.Equal(t, mid, v.rung)
	require.Empty(t, v.probes, "nothing more is wanted")
	require.True(t, v.last.Doze)

	want.Most = low
	reason, after := v.pass(time.Second)
	require.Equal(t, Limited, reason)
	require.Equal(t, 50*ms, after)
	require.Equal(t, low, v.rung)

	want.Most = high
	v.answers(20)
	require.NotEmpty(t, v.probes)
	require.Equal(t, high, v.rung)
	for _, p := range v.probes {
		require.Less(t, p.Rate, 1.2*1.15*v.ladder[high].Cost)
	}
}

// What is wanted is told, so that no probe goes on for more than that. Then it has not failed.
func TestGuidedGivesAProbeUp(t *testing.T) {
	want := Range{Most: 99}
	v := newGuided(t, Config{}, &want)
	require.Equal(t, mid, v.rung)
	v.await(5 * time.Second)
	require.Len(t, v.probes, 1)
	require.Equal(t, Range{Least: 1, Most: top}, v.last.Wanted)
	want.Most = mid
	v.pass(50 * ms)
	require.Equal(t, Range{Least: 1, Most: mid}, v.last.Wanted)
	v.state.Probe = bwe.ProbeResult{ID: v.probes[0].ID, Done: true, Rate: 1}
	v.pass(50 * ms)
	want.Most = top
	_, after := v.pass(5 * time.Second)
	require.Len(t, v.probes, 2)
	require.Less(t, after, time.Second)
}

// Whatever is wanted, a congested path is sent less, and what is given up then is told as
// that.
func TestGuidedIsCongested(t *testing.T) {
	want := Range{Most: 99}
	v := newGuided(t, Config{Strategy: Quality}, &want)
	require.Equal(t, top, v.rung)
	v.now = v.now.Add(20 * time.Second)
	v.congest(700e3)
	reason, after := v.pass(time.Second)
	require.Equal(t, Congestion, reason)
	require.Equal(t, mid, v.rung)
	require.Less(t, after, time.Second)
	v.clear()
	v.answers(20)
	require.Equal(t, top, v.rung)

	v.now = v.now.Add(20 * time.Second)
	v.congest(2e6)
	want.Most = pausedRung
	reason, after = v.pass(time.Second)
	require.Equal(t, Congestion, reason)
	require.Equal(t, 50*ms, after)
	require.Equal(t, pausedRung, v.rung)
}

// Of what is less than what is worth sending nothing is sent, and it is left at once. A
// probe shows whether the least that is worth it fits.
func TestGuidedLeast(t *testing.T) {
	want := Range{Least: mid, Most: high}
	v := newGuided(t, Config{Strategy: Careful}, &want)
	require.Equal(t, mid, v.rung, "the lowest of these")
	v.now = v.now.Add(20 * time.Second)
	v.congest(200e3)
	v.state.Loss = 0.5
	v.pass(10 * time.Second)
	require.Equal(t, pausedRung, v.rung)
	v.clear()
	v.state.Loss = 0
	for v.last.Probe.Rate == 0 {
		v.pass(time.Second)
	}
	require.Equal(t, mid, v.last.Try)
	v.answers(30)
	require.Equal(t, high, v.rung)
	for _, rung := range []int{mid, high} {
		want.Least = rung
		v.look()
		require.Equal(t, high, v.rung)
	}
	want = Range{Least: top, Most: top}
	v.look()
	require.Equal(t, pausedRung, v.rung)
	require.Equal(t, Limited, v.last.Reason)
}

// Where only a part of a layer is wanted, that is given up as a layer is, and comes again: also
// to a viewer that reports nothing after it was sent nothing.
func TestGuidedToAPart(t *testing.T) {
	for most, mode := range map[int]Mode{1: Keyframes, 2: Partial} {
		want := Range{Most: most}
		v := newGuided(t, Config{Strategy: Quality}, &want)
		v.layers = []Layer{{Bitrate: 2500e3, Temporal: []float64{1000e3, 1700e3, 2500e3}, Keyframe: 600e3}}
		v.look()
		v.answers(10)
		require.Equal(t, mode, v.ladder[v.rung].Mode)
		v.now = v.now.Add(20 * time.Second)
		v.congest(0.95 * v.ladder[v.rung].Cost)
		v.state.Bitrate = 2 * v.ladder[v.rung].Cost // of a queue that is about to be gone
		v.pass(time.Second)
		require.Equal(t, most, v.rung, "it gets through")

		v.congest(20e3)
		v.state.Loss = 0.6
		v.pass(10 * time.Second)
		require.Equal(t, pausedRung, v.rung)
		v.clear()
		v.state.Loss, v.state.Source = 0, bwe.Nothing
		v.pass(30 * time.Second)
		require.Equal(t, pausedRung, v.rung)
		require.Positive(t, v.last.Probe.Rate)
		require.Equal(t, 1, v.last.Try)
	}
}

// Nothing that is wanted gives a choice that cannot be, and an unguided policy is not
// disturbed by what is wanted at other times.
func TestGuidedByNonsense(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		want := Range{}
		v := newGuided(t, Config{Strategy: Strategy(rnd.IntN(3))}, &want)
		for range 2000 {
			if rnd.IntN(5) == 0 {
				want = Range{Least: rnd.IntN(20) - 8, Most: rnd.IntN(20) - 8}
			}
			switch rnd.IntN(20) {
			case 0:
				v.congest(3e6 * rnd.Float64())
				v.state.Loss = rnd.Float64()
			case 1:
				v.clear()
				v.state.Loss = 0
			case 2:
				v.state.Source = bwe.Source(rnd.IntN(4))
			case 3:
				v.layers = full[:rnd.IntN(len(full)+1)]
			case 4:
				if len(v.probes) > 0 {
					v.answer(4e6*rnd.Float64(), rnd.IntN(4) == 0)
				}
			}
			v.pass(50 * ms) // checks the index
			require.LessOrEqual(t, v.rung, max(0, min(want.Most, len(v.ladder)-1)))
			require.True(t, v.rung == 0 || v.rung >= min(want.Least, want.Most, len(v.ladder)-1))
			require.Less(t, v.last.Try, len(v.ladder))
		}
		want = Range{Most: 99}
		v.layers, v.state.Source, v.state.Loss = full, bwe.TransportFeedback, 0
		v.clear()
		v.now = v.now.Add(3 * time.Minute)
		v.answers(40)
		require.Equal(t, top, v.rung, "seed %d", seed)
	}
}

// A decider is a policy of the user's that a test writes down.
type decider struct {
	*viewer
	next Decision
	seen View
}

func newDecider(t *testing.T, first int) *decider {
	d := &decider{next: Decision{Send: first}}
	d.viewer = &viewer{t: t, now: time.Unix(1000, 0), layers: full}
	d.policy = NewGuided(Config{}, func(v View) Decision {
		d.seen = v
		return d.next
	})
	d.state = bwe.State{Source: bwe.TransportFeedback, RoundTrip: 100 * ms, Bitrate: 5e6}
	d.look()
	require.Equal(t, Start, d.last.Reason)
	return d
}

// The viewer is sent the rung that the user's policy names, whatever the path is like. There is no
// probe that the policy has not asked for.
func TestGuidedSends(t *testing.T) {
	d := newDecider(t, low)
	d.pass(30 * time.Second)
	require.Equal(t, low, d.rung)
	require.Empty(t, d.probes)
	require.False(t, d.last.Doze, "more could be asked for")
	for _, step := range []struct {
		send      int
		congested bool
		why       Reason
	}{{top, false, Limited}, {mid, true, Congestion}, {mid, true, Stay}, {high, true, Limited}, {pausedRung, false, Limited}, {99, false, Limited}} {
		d.next.Send = step.send
		if d.clear(); step.congested {
			d.congest(100e3)
		}
		d.now = d.now.Add(50 * ms)
		d.look()
		require.Equal(t, min(step.send, top), d.rung)
		require.Equal(t, step.why, d.last.Reason, "%+v", step)
	}
	d.clear()
	d.now = d.now.Add(dozeAfter + time.Second)
	d.look()
	require.True(t, d.last.Doze, "there is nothing more")
	require.Empty(t, d.probes)
}

// The policy asks for room once. As many probes are made as it takes, also for a rung that is
// far away, and the policy is told.
func TestGuidedSearches(t *testing.T) {
	d := newDecider(t, low)
	d.now = d.now.Add(5 * time.Second)
	d.next.Probe = top
	d.look()
	d.next.Probe = 0
	for range 8 {
		if d.seen.Room == top {
			break
		}
		if d.last.Probe.Rate == 0 {
			d.pass(2 * time.Second)
		}
		require.Equal(t, low, d.rung)
		d.state.Probe = bwe.ProbeResult{}
		d.look()
		require.True(t, d.seen.Probing)
		d.answer(1e9, false)
	}
	require.Greater(t, len(d.probes), 1)
	require.Equal(t, top, d.seen.Room)
	require.False(t, d.seen.Probing)
	d.pass(time.Minute)
	require.Equal(t, top, d.seen.Room, "it is known until something changes")
	again := *d.policy.(*Guided)
	d.congest(300e3)
	d.look()
	require.Equal(t, low, d.seen.Room, "a congestion has shown otherwise")
	d.clear()
	*d.policy.(*Guided) = again
	d.next.Send = mid
	d.look()
	require.Equal(t, Room, d.last.Reason)
	d.look()
	require.Equal(t, top, d.seen.Room)
	d.next.Send = low
	d.look()
	d.look()
	require.Equal(t, low, d.seen.Room)
}

// newSearcher returns a viewer at mid whose policy has just asked for room for high.
func newSearcher(t *testing.T) *decider {
	d := newDecider(t, mid)
	d.now = d.now.Add(5 * time.Second)
	d.next.Probe = high
	d.look()
	require.Len(t, d.probes, 1)
	d.next.Probe = 0
	return d
}

// A search ends where there is no room, when the path is congested, when less is sent, and when
// the edge is to choose. Then another can begin.
func TestGuidedSearchesInVain(t *testing.T) {
	for name, end := range map[string]func(*decider){
		"harm":      func(d *decider) { d.answer(600e3, true) },
		"no room":   func(d *decider) { d.answer(300e3, false) },
		"congested": func(d *decider) { d.congest(300e3) },
		"less":      func(d *decider) { d.next.Send = low },
		"fit":       func(d *decider) { d.next = Decision{Fit: true, Range: Range{Most: mid}} },
		"no answer": func(d *decider) { d.now = d.now.Add(unanswered + time.Second) },
	} {
		d := newSearcher(t)
		end(d)
		d.look()
		d.now = d.now.Add(50 * ms)
		d.look()
		require.False(t, d.seen.Probing, name)
		require.Equal(t, d.seen.Rung, d.seen.Room, name)
		d.clear()
		d.now = d.now.Add(10 * time.Second)
		d.next = Decision{Send: d.rung, Probe: top}
		d.look()
		require.Len(t, d.probes, 2, name)
		d.answer(1e9, false)
	}
}

// A policy that asks all the time is not served all the time: after a failure there is a pause,
// which grows.
func TestGuidedSearchesBackOff(t *testing.T) {
	for name, result := range map[string]bwe.ProbeResult{
		"harm": {Done: true, Rate: 600e3, Harm: true}, "no room": {Done: true, Rate: 300e3}, "empty": {Done: true, Unknown: true, Empty: true},
	} {
		d := newDecider(t, mid)
		d.next = Decision{Send: mid, Probe: top}
		for range 60 * 20 {
			d.now = d.now.Add(50 * ms)
			if d.look(); d.last.Probe.Rate > 0 {
				result.ID = d.last.Probe.ID
				d.state.Probe = result
			}
		}
		require.Greater(t, len(d.probes), 3, name)
		require.Less(t, len(d.probes), 20, name)
	}
}

// A search is over when what it is for is sent, or does not come any more. Then another can begin.
func TestGuidedSearchesForWhatIsThere(t *testing.T) {
	for name, change := range map[string]func(*decider){
		"sent": func(d *decider) { d.next.Send = high },
		"gone": func(d *decider) { d.layers = full[:2] },
	} {
		d := newSearcher(t)
		change(d)
		for range 3 {
			d.now = d.now.Add(time.Second)
			d.look()
		}
		require.False(t, d.seen.Probing, name)
		d.layers = full
		d.now = d.now.Add(5 * time.Second)
		d.next.Probe = top
		d.look()
		require.Len(t, d.probes, 2, name)
	}
}

// Room can be asked for with the first choice. Where nothing is asked for, nothing is probed for.
func TestGuidedSearchesFromTheStart(t *testing.T) {
	d := &decider{next: Decision{Send: low, Probe: mid}}
	d.viewer = &viewer{t: t, now: time.Unix(1000, 0), layers: full, state: bwe.State{Source: bwe.TransportFeedback, Bitrate: 5e6}}
	d.policy = NewGuided(Config{}, func(View) Decision { return d.next })
	d.look()
	d.next.Probe = 0
	d.pass(5 * time.Second)
	require.Len(t, d.probes, 1)
	d.next.Send = pausedRung
	d.look()
	require.Equal(t, Range{Least: 1}, d.last.Wanted, "not even what is tried")
}

// Nothing that a policy decides, in whatever order, gives a choice that cannot be.
func TestGuidedDecidesNonsense(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		d := newDecider(t, rnd.IntN(8)-1)
		for range 2000 {
			if rnd.IntN(5) == 0 {
				d.next = Decision{rnd.IntN(3) == 0, Range{rnd.IntN(20) - 8, rnd.IntN(20) - 8}, rnd.IntN(20) - 8, rnd.IntN(20) - 8}
			}
			switch rnd.IntN(20) {
			case 0:
				d.congest(3e6 * rnd.Float64())
			case 1:
				d.clear()
			case 2:
				d.state.Source = bwe.Source(rnd.IntN(4))
			case 3:
				d.layers = full[:rnd.IntN(len(full)+1)]
			case 4:
				if len(d.probes) > 0 {
					d.answer(4e6*rnd.Float64(), rnd.IntN(4) == 0)
				}
			}
			d.pass(50 * ms)
			if top := len(d.ladder) - 1; !d.next.Fit {
				require.Equal(t, min(max(d.next.Send, 0), top), d.rung)
				require.Less(t, d.last.Try, len(d.ladder))
				require.False(t, d.last.Probe.Rate > 0 && d.state.Verdict == bwe.Overuse, "a congested path is not probed")
			}
		}
	}
}
