package allot

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/bwe"
)

const ms = time.Millisecond

var full = []Layer{{Height: 180, Bitrate: 160e3}, {Height: 360, Bitrate: 540e3}, {Height: 720, Bitrate: 1600e3}, {Height: 1080, Bitrate: 2650e3}}

// The rungs of full.
const (
	pausedRung = iota
	keyframesRung
	low
	mid
	high
	top
)

// A viewer drives a policy.
type viewer struct {
	t      *testing.T
	policy Policy
	now    time.Time
	layers []Layer
	limits Limits
	ladder Ladder
	state  bwe.State
	rung   int
	last   Choice
	probes []bwe.Probe
}

func newViewer(t *testing.T, c Config) *viewer {
	v := &viewer{t: t, policy: NewAdaptive(c), now: time.Unix(1000, 0), layers: full}
	v.state = bwe.State{Source: bwe.TransportFeedback, RoundTrip: 100 * ms, Bitrate: 5e6}
	v.look()
	return v
}

// look asks the policy once.
func (v *viewer) look() {
	v.ladder = Build(v.ladder, v.layers, sound, v.limits)
	cost := v.ladder[min(v.rung, len(v.ladder)-1)].Cost
	if v.state.Verdict == bwe.Normal {
		v.state.Acknowledged, v.state.Sent = cost, cost
	}
	v.last = v.policy.Choose(View{Now: v.now, State: v.state, Ladder: v.ladder, Rung: v.rung})
	require.GreaterOrEqual(v.t, v.last.Rung, 0)
	require.Less(v.t, v.last.Rung, len(v.ladder))
	if v.last.Reason == Stay {
		require.Zero(v.t, v.last.Reason)
	}
	v.rung = v.last.Rung
	if v.last.Probe.Rate > 0 {
		v.probes = append(v.probes, v.last.Probe)
	}
}

// pass looks every 50 ms until something but Stay happens, or a probe begins, and
// returns after how long it did.
func (v *viewer) pass(most time.Duration) (Reason, time.Duration) {
	for past := 50 * ms; past <= most; past += 50 * ms {
		v.now = v.now.Add(50 * ms)
		if v.look(); v.last.Reason != Stay || v.last.Probe.Rate > 0 {
			return v.last.Reason, past
		}
	}
	return Stay, most
}

// await returns when a probe is under way, or a step was taken.
func (v *viewer) await(most time.Duration) {
	if v.last.Probe.Rate == 0 {
		v.pass(most)
	}
}

// answer says what the last probe has shown.
func (v *viewer) answer(carried float64, harm bool) {
	last := v.probes[len(v.probes)-1]
	v.state.Probe = bwe.ProbeResult{ID: last.ID, Done: true, Rate: min(carried, 1.02*last.Rate), Harm: harm}
	v.now = v.now.Add(250 * ms)
	v.look()
}

// climb answers probes until the viewer is at the top.
func (v *viewer) climb() {
	for range 20 {
		if v.rung == top {
			return
		}
		if v.await(20 * time.Second); v.last.Probe.Rate > 0 {
			v.answer(1e9, false)
		}
	}
	v.t.Fatal("not at the top")
}

// congest says that only a rate gets through.
func (v *viewer) congest(capacity float64) {
	v.state.Verdict, v.state.LimitedBy = bwe.Overuse, bwe.ByDelay
	v.state.Sent = v.ladder[v.rung].Cost
	v.state.Acknowledged, v.state.Bitrate = min(capacity, v.state.Sent), 0.85*capacity
	v.state.Queue, v.state.RoundTrip = 150*ms, 250*ms
}

func (v *viewer) clear() {
	v.state.Verdict, v.state.Queue, v.state.RoundTrip = bwe.Normal, 0, 100*ms
}

func TestFirst(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		want   int
	}{
		{"Balanced", Config{}, mid},
		{"Quality", Config{Strategy: Quality}, top},
		{"Careful", Config{Strategy: Careful}, low},
		{"First", Config{Strategy: Careful, First: 2e6}, high},
	} {
		v := newViewer(t, test.config)
		require.Equal(t, test.want, v.rung, test.name)
		require.Equal(t, Start, v.last.Reason)
	}
}

func TestUpOnlyByProbes(t *testing.T) {
	v := newViewer(t, Config{})
	v.state.Bitrate = 1e9 // an estimate is no probe
	_, after := v.pass(time.Minute)
	require.LessOrEqual(t, after, time.Second)
	require.Len(t, v.probes, 1)
	p := v.probes[0]
	require.LessOrEqual(t, p.Rate, 2*v.ladder[mid].Cost, "not too far at once")
	require.GreaterOrEqual(t, p.Duration, 100*ms)
	v.answer(1e9, false)
	require.Equal(t, mid, v.rung, "a step on the way")
	v.await(time.Second)
	require.Len(t, v.probes, 2)
	require.InDelta(t, 1.15*1.05*v.ladder[high].Cost, v.probes[1].Rate, 1)
	v.answer(1e9, false)
	require.Equal(t, high, v.rung)
	require.Equal(t, Room, v.last.Reason)
	v.climb()
	v.pass(time.Minute)
	require.Equal(t, top, v.rung)
}

func TestTenPercentAboveIsNotEnough(t *testing.T) {
	v := newViewer(t, Config{})
	for range 20 {
		if v.await(20 * time.Second); v.last.Probe.Rate > 0 {
			v.answer(1.1*v.ladder[high].Cost, false)
		}
		require.Equal(t, mid, v.rung)
	}
}

func TestHoldOff(t *testing.T) {
	for _, test := range []struct {
		name string
		harm bool
		want []time.Duration
	}{
		{"Harmless", false, []time.Duration{4500 * ms, 6 * time.Second, 6 * time.Second}},
		{"Harmful", true, []time.Duration{4500 * ms, 6750 * ms, 10125 * ms, 15187 * ms, 22781 * ms, 34171 * ms, 51257 * ms, 76886 * ms, 115330 * ms, 2 * time.Minute, 2 * time.Minute}},
	} {
		v := newViewer(t, Config{})
		v.pass(time.Second)
		for i, want := range test.want {
			v.answer(1e5, test.harm)
			_, after := v.pass(3 * time.Minute)
			require.InDelta(t, want, after, float64(50*ms), "%s, wait %d", test.name, i)
		}
	}
}

func TestClimbTakenBack(t *testing.T) {
	v := newViewer(t, Config{})
	var waits []time.Duration
	for range 4 {
		for range 3 {
			if v.rung == mid {
				v.await(time.Minute)
				v.answer(1e9, false)
			}
		}
		require.Equal(t, high, v.rung)
		v.congest(1e6)
		v.pass(10 * time.Second)
		require.Equal(t, mid, v.rung)
		v.clear()
		begun := v.now
		v.pass(time.Minute)
		waits = append(waits, v.now.Sub(begun))
		v.answer(1e9, false)
	}
	for i, want := range []time.Duration{4500 * ms, 6750 * ms, 10125 * ms, 15187 * ms} {
		require.InDelta(t, want, waits[i], float64(60*ms))
	}
}

func TestDownAtOnce(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.now = v.now.Add(20 * time.Second)
	v.look()
	v.congest(800e3)
	v.now = v.now.Add(50 * ms)
	v.look()
	require.Equal(t, mid, v.rung, "as far as necessary")
	require.Equal(t, Congestion, v.last.Reason)
	// The queue has yet to drain.
	v.congest(800e3)
	reason, after := v.pass(400 * ms)
	require.Equal(t, Stay, reason, after)
	v.congest(300e3)
	_, after = v.pass(time.Second)
	require.Less(t, after, 500*ms)
	require.Equal(t, low, v.rung)
}

func TestOthersMayYield(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.now = v.now.Add(20 * time.Second)
	v.congest(2.4e6) // most gets through
	_, after := v.pass(time.Second)
	require.InDelta(t, yieldAfter, after, float64(60*ms))
	require.Equal(t, high, v.rung)
}

func TestLoss(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.now = v.now.Add(20 * time.Second)
	v.congest(800e3)
	v.state.LimitedBy = bwe.ByLoss
	v.pass(time.Second)
	require.Equal(t, Loss, v.last.Reason)
}

// TestTheLowestLayerStays: beside flows that fill the queue, the estimate can be lower
// than the lowest layer, which gets through all the same.
func TestTheLowestLayerStays(t *testing.T) {
	v := newViewer(t, Config{Strategy: Careful})
	v.now = v.now.Add(20 * time.Second)
	v.congest(1e9)
	v.state.Bitrate = 30e3
	v.state.Loss = 0.1
	reason, _ := v.pass(time.Minute)
	require.Equal(t, Stay, reason)
	require.Equal(t, low, v.rung)
}

// A single layer of which congestion loses a little for seconds gives way to keyframes: none of
// its frames can be repaired, and sound is lost with it. Beside others, or on a path that loses as
// much anyway, it stays.
func TestASpoiledPictureIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		layer    float64
		loss     float64
		inherent float64
		queued   bool
		coarse   bool // a low estimate of the receiver's tells, and reports
		stays    bool
	}{
		"spoiled":           {layer: 2650e3, loss: 0.04, queued: true},
		"a low estimate":    {layer: 2650e3, loss: 0.04, queued: true, coarse: true, stays: true},
		"a cheap one":       {layer: 160e3, loss: 0.04, queued: true, stays: true},
		"whole":             {layer: 2650e3, queued: true, stays: true},
		"the path loses it": {layer: 2650e3, loss: 0.04, inherent: 0.04, queued: true, stays: true},
		"not congested":     {layer: 2650e3, loss: 0.04, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newViewer(t, Config{Strategy: Quality})
			v.layers, v.rung = []Layer{{Bitrate: c.layer, Keyframe: 100e3}}, 0
			v.policy = NewAdaptive(Config{First: 1e12})
			v.look()
			whole := len(v.ladder) - 1
			require.Equal(t, whole, v.rung)
			v.now = v.now.Add(20 * time.Second)
			if c.queued {
				v.congest(0.97 * c.layer)
			}
			v.state.Loss, v.state.Inherent = c.loss, c.inherent
			if c.coarse {
				v.state.Source = bwe.ReceiverEstimate
			}
			if c.stays {
				v.pass(time.Minute)
				require.Equal(t, whole, v.rung)
				return
			}
			_, after := v.pass(time.Minute)
			require.Equal(t, Keyframes, v.ladder[v.rung].Mode)
			require.GreaterOrEqual(t, after, 1750*ms)
			require.Less(t, after, 4*time.Second)
		})
	}
}

// An estimator that is full lowers its estimate and has no verdict for a while, though the queue
// stands and packets are lost.
func TestASpoiledPictureBetweenVerdicts(t *testing.T) {
	for name, queue := range map[string]time.Duration{"a queue": 250 * ms, "none": 0} {
		t.Run(name, func(t *testing.T) {
			v := newViewer(t, Config{Strategy: Quality})
			v.layers, v.rung = []Layer{{Bitrate: 2650e3, Keyframe: 100e3}}, 0
			v.policy = NewAdaptive(Config{First: 1e12})
			v.look()
			whole := v.rung
			v.now = v.now.Add(20 * time.Second)
			for i := range 80 {
				v.congest(2600e3)
				if i%20 > 9 {
					v.state.Verdict = bwe.Normal
				}
				v.state.Loss, v.state.Queue = 0.04, queue
				v.now = v.now.Add(50 * ms)
				v.look()
			}
			require.Equal(t, queue > 0, v.rung < whole)
		})
	}
}

// What was lost of a whole layer says nothing of the keyframes that are sent since.
func TestWhatWasSpoiledIsForgotten(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.layers, v.rung = []Layer{{Bitrate: 2650e3, Keyframe: 100e3}}, 0
	v.policy = NewAdaptive(Config{First: 1e12})
	v.look()
	v.now = v.now.Add(20 * time.Second)
	v.congest(2600e3)
	v.state.Loss = 0.04
	v.pass(time.Minute)
	require.Equal(t, Keyframes, v.ladder[v.rung].Mode)
	v.congest(1e9)
	v.state.Bitrate = 1100e3
	v.pass(time.Second) // what comes was sent before
	v.state.Loss = 0
	v.pass(5 * time.Second)
	require.Equal(t, Keyframes, v.ladder[v.rung].Mode)
}

// A moment of congestion is no reason to give the picture up, however often it comes.
func TestASeldomSpoiledPictureStays(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.layers, v.rung = []Layer{{Bitrate: 2650e3, Keyframe: 100e3}}, 0
	v.policy = NewAdaptive(Config{First: 1e12})
	v.look()
	whole := v.rung
	for range 20 {
		v.congest(0.97 * 2650e3)
		v.state.Loss = 0.04
		v.pass(time.Second)
		v.clear()
		v.state.Loss = 0
		v.pass(3 * time.Second)
		require.Equal(t, whole, v.rung)
	}
}

// TestSoundAlone: what does not get through is given up, sound goes on, and a picture
// is tried again.
func TestSoundAlone(t *testing.T) {
	v := newViewer(t, Config{Strategy: Careful})
	v.now = v.now.Add(20 * time.Second)
	v.congest(60e3)
	v.state.Loss = 0.6
	_, after := v.pass(time.Minute)
	require.Less(t, after, 3*time.Second)
	require.Equal(t, pausedRung, v.rung)
	v.clear()
	v.state.Loss = 0
	reason, after := v.pass(time.Minute)
	require.Equal(t, Room, reason)
	require.Less(t, after, 8*time.Second)
	require.Equal(t, low, v.rung)
}

// TestPausedIsProbed: while video is paused there is no media that could show that the
// path has room. Without probes the viewer would never see it again.
func TestPausedIsProbed(t *testing.T) {
	v := newViewer(t, Config{})
	v.layers = []Layer{{Bitrate: 2650e3}}
	v.now = v.now.Add(20 * time.Second)
	v.look()
	v.congest(200e3)
	v.pass(2 * time.Second)
	require.Equal(t, pausedRung, v.rung)
	v.clear()
	for range 40 {
		if v.await(20 * time.Second); v.last.Probe.Rate > 0 {
			require.LessOrEqual(t, v.last.Probe.Rate, 4e6)
			v.answer(1e9, false)
		}
	}
	require.Equal(t, 2, v.rung, "the whole layer")
}

// moving is a layer of which no rung up to its keyframes is cheap.
var moving = []Layer{{Height: 720, Bitrate: 2650e3, Temporal: []float64{700e3, 1300e3, 2650e3}}}

// The rungs of moving.
const (
	baseRung = 2 + iota
	halfRung
	wholeRung
)

// A viewer stays on each rung below the lowest layer until reports can tell of that rung, and
// not of the one above it.
func TestFewerFramesThenKeyframesThenSound(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.layers = moving
	v.now = v.now.Add(20 * time.Second)
	v.look()
	require.Equal(t, wholeRung, v.rung)
	for _, step := range []struct {
		capacity float64
		want     int
		after    time.Duration // at least
	}{
		{2000e3, halfRung, 0},
		{600e3, baseRung, 300 * ms},
		{400e3, keyframesRung, thins},
		{100e3, pausedRung, thins},
	} {
		v.congest(step.capacity)
		v.state.Loss = 0.4
		reason, after := v.pass(10 * time.Second)
		require.Equal(t, Congestion, reason)
		require.Equal(t, step.want, v.rung)
		require.GreaterOrEqual(t, after, step.after)
		require.Less(t, after, step.after+time.Second)
	}
	v.clear()
	v.state.Loss = 0
	seen := []int{v.rung}
	for range 40 {
		if v.await(20 * time.Second); v.last.Probe.Rate > 0 {
			v.answer(1e9, false)
		}
		if v.rung != seen[len(seen)-1] {
			seen = append(seen, v.rung)
		}
	}
	require.Equal(t, []int{pausedRung, keyframesRung, baseRung, halfRung, wholeRung}, seen)
}

// TestNoLateKeyframes: keyframes alone are sent only where one of them is there in time. That
// a path has room for them is found by a probe, and they are given up where they are late,
// though they get through.
func TestNoLateKeyframes(t *testing.T) {
	stills := 500e3 / keyframeTime.Seconds()
	v := newViewer(t, Config{Strategy: Quality})
	v.layers = []Layer{{Bitrate: 2650e3, Keyframe: 500e3}}
	v.now = v.now.Add(20 * time.Second)
	v.look()
	starve := func(capacity float64) {
		v.congest(capacity)
		v.state.Loss = 0.4
		v.pass(5 * time.Second)
	}
	starve((sound + stills) / 0.85 * 0.99)
	require.Equal(t, pausedRung, v.rung)
	v.clear()
	v.state.Loss = 0
	for range 40 {
		if v.await(20 * time.Second); v.last.Probe.Rate > 0 {
			v.answer(1.2*(sound+stills), false)
		}
	}
	require.Equal(t, keyframesRung, v.rung)
	v.congest((sound + stills) / 0.85 * 1.01)
	v.pass(10 * time.Second)
	require.Equal(t, keyframesRung, v.rung)
	v.congest((sound + stills) / 0.85 * 0.99)
	v.state.Acknowledged = v.state.Sent // all arrives, and late
	v.pass(10 * time.Second)
	require.Equal(t, pausedRung, v.rung)
}

// TestWhatWasSentBeforeCountsForNothing: after a step to fewer frames, losses of what was sent
// before are still reported for a while. The step is not followed by another for that.
func TestWhatWasSentBeforeCountsForNothing(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.layers = moving
	v.now = v.now.Add(20 * time.Second)
	v.look()
	v.congest(900e3)
	v.pass(time.Second)
	require.Equal(t, baseRung, v.rung)
	v.congest(900e3)
	v.state.Sent, v.state.Loss = 2650e3, 0.6
	reason, _ := v.pass(thins - 100*ms)
	require.Equal(t, Stay, reason)
	v.clear()
	v.state.Loss = 0
	v.pass(time.Minute)
	require.GreaterOrEqual(t, v.rung, baseRung)
}

func TestNeverProbesWhileCongested(t *testing.T) {
	v := newViewer(t, Config{Strategy: Careful})
	v.pass(time.Second)
	v.probes = nil
	v.congest(1e9)
	v.pass(time.Hour / 60)
	require.Empty(t, v.probes)
}

// TestOwnQueue: what a probe does to the queue is not the fault of the layer.
func TestOwnQueue(t *testing.T) {
	v := newViewer(t, Config{})
	v.pass(time.Second)
	require.Len(t, v.probes, 1)
	v.congest(500e3)
	reason, _ := v.pass(650 * ms)
	require.Equal(t, Stay, reason)
	reason, after := v.pass(time.Second)
	require.Equal(t, Congestion, reason, "it stays: it is not the probe's")
	require.Less(t, after, 300*ms)
}

func TestSilence(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.now = v.now.Add(20 * time.Second)
	v.look()
	v.state.Source = bwe.Nothing
	reason, after := v.pass(time.Minute)
	require.Equal(t, Silence, reason)
	require.InDelta(t, silence, after, float64(60*ms))
	require.Equal(t, low, v.rung)
	v.pass(time.Minute)
	require.Equal(t, low, v.rung, "video goes on")
	require.Empty(t, v.probes)
	v.state.Source = bwe.TransportFeedback
	_, after = v.pass(time.Minute)
	require.LessOrEqual(t, after, time.Second)
	require.Len(t, v.probes, 1)
}

func TestLimitsAndLayersChange(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	v.limits.Height = 720
	v.look()
	require.Equal(t, high, v.rung)
	require.Equal(t, Limited, v.last.Reason)
	v.layers = full[:2]
	v.look()
	require.Equal(t, mid, v.rung)
	v.layers = nil
	v.look()
	require.Equal(t, pausedRung, v.rung)
	v.layers, v.limits = full, Limits{}
	v.climb()
}

func TestDoze(t *testing.T) {
	v := newViewer(t, Config{Strategy: Quality})
	require.False(t, v.last.Doze)
	v.pass(9 * time.Second)
	require.False(t, v.last.Doze)
	v.pass(2 * time.Second)
	require.True(t, v.last.Doze, "it has the best there is")
	v.state.Trouble = true
	v.look()
	require.False(t, v.last.Doze)
	v.state.Trouble = false
	v.pass(9 * time.Second)
	require.False(t, v.last.Doze)
	v.pass(2 * time.Second)
	require.True(t, v.last.Doze)
	v.layers = append(full[:4:4], Layer{Height: 2160, Bitrate: 8e6})
	v.look()
	require.False(t, v.last.Doze, "there is something better")
}

func TestChooseAllocatesNothing(t *testing.T) {
	v := newViewer(t, Config{})
	view := View{Now: v.now, State: v.state, Ladder: v.ladder, Rung: v.rung}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		view.Now = view.Now.Add(50 * ms)
		_ = v.policy.Choose(view)
	}))
}

// A receiver that reports nothing is sent all frames of the lowest layer.
func TestSilenceThinsNothingOut(t *testing.T) {
	layers := []Layer{{Bitrate: 2500e3, Temporal: []float64{1000e3, 1700e3, 2500e3}}}
	ladder := Build(nil, layers, 50e3, Limits{})
	a, now := NewAdaptive(Config{First: 1e9}), time.Unix(1000, 0)
	at := a.Choose(View{Now: now, Ladder: ladder, State: bwe.State{Source: bwe.Nothing}}).Rung
	require.Equal(t, Full, ladder[at].Mode)
	for range 600 {
		now = now.Add(100 * ms)
		at = a.Choose(View{Now: now, Ladder: ladder, Rung: at, State: bwe.State{Source: bwe.Nothing, Trouble: true}}).Rung
		require.Equal(t, Full, ladder[at].Mode)
	}
	for most, mode := range map[int]Mode{1: Keyframes, 2: Partial} { // where no more is wanted
		want := Range{Most: most}
		g := NewGuided(Config{First: 1e9}, func(View) Decision { return Decision{Fit: true, Range: want} })
		for range 600 {
			now = now.Add(100 * ms)
			at = g.Choose(View{Now: now, Ladder: ladder, Rung: at, State: bwe.State{Source: bwe.Nothing, Trouble: true}}).Rung
			require.Equal(t, mode, ladder[at].Mode)
		}
	}
}
