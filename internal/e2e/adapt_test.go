package delta_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// rungs are the bitrates of the simulcast layers in plans.
var rungs = []int{150_000, 500_000, 1_500_000, 2_500_000}

// A stretch of a plan is how long a path is so, and the layer that fits it.
type stretch struct {
	path cdntest.Path
	long time.Duration
	fits int
}

// An adapted is a viewer whose path changes, and what it was told of it.
type adapted struct {
	*world
	node   *node
	viewer *cdntest.Viewer
	host   *cdntest.Host
	began  []time.Time // of each stretch
	events []cdn.Event
}

// adapt has a viewer watch layers with sound over one stretch after the other.
func (w *world) adapt(layers []int, c cdntest.ViewerConfig, stretches ...stretch) *adapted {
	video := &cdntest.Video{Bitrate: layers[0], KeyframeInterval: 4 * time.Second}
	if len(layers) > 1 {
		for i, bits := range layers {
			video.Layers = append(video.Layers, cdntest.VideoLayer{RID: string(rune('a' + i)), Bitrate: bits})
		}
	}
	return w.adaptVideo(video, c, stretches...)
}

// adaptVideo is adapt with video of the test's own.
func (w *world) adaptVideo(video *cdntest.Video, c cdntest.ViewerConfig, stretches ...stretch) *adapted {
	a := &adapted{world: w, node: w.origin("origin", cdntest.Path{}, origin.Config{})}
	p := w.publish(a.node, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: video, Audio: &cdntest.Audio{}})
	require.NoError(w.t, p.WaitConnected(w.within(5*time.Second)))
	time.Sleep(3 * time.Second) // until bitrates are known
	a.host = w.network.Host("viewer", cdntest.Path{})
	for i, s := range stretches {
		a.host.SetDownlink(s.path)
		a.host.SetUplink(cdntest.Path{Delay: s.path.Delay})
		a.began = append(a.began, time.Now())
		if i == 0 {
			a.viewer = w.view(a.node, "live", "viewer", cdntest.Path{}, c)
			a.host.SetDownlink(s.path)
		}
		time.Sleep(s.long)
	}
	a.began = append(a.began, time.Now())
	a.events = w.told()
	for _, e := range a.events {
		if e, ok := e.(cdn.SessionEnded); ok {
			w.t.Errorf("ended: %v", e.Err)
		}
	}
	return a
}

// layers returns which layer was shown when, in the order in which frames were sent.
func (a *adapted) layers() []cdntest.Frame {
	frames := slices.DeleteFunc(a.viewer.Report().Video().Frames, func(f cdntest.Frame) bool { return !f.Decodable })
	slices.SortStableFunc(frames, func(x, y cdntest.Frame) int { return x.Sent.Compare(y.Sent) })
	return frames
}

// since returns how long after a time the viewer was first sent a frame of a layer that
// accept takes; a minute: never.
func (a *adapted) since(begun, until time.Time, accept func(layer int) bool) time.Duration {
	for _, f := range a.layers() {
		if f.Sent.After(begun) && f.Sent.Before(until) && accept(f.Layer) {
			return f.Sent.Sub(begun)
		}
	}
	return time.Minute
}

// switches returns how often the layer changed between two times.
func (a *adapted) switches(from, to time.Time) (n int) {
	last := -1
	for _, f := range a.layers() {
		if f.Sent.Before(from) || f.Sent.After(to) {
			continue
		}
		if last >= 0 && f.Layer != last {
			n++
		}
		last = f.Layer
	}
	return n
}

// share returns which share of the frames sent between two times were of a layer.
func (a *adapted) share(from, to time.Time, layer int) float64 {
	all, of := 0, 0
	for _, f := range a.layers() {
		if f.Sent.Before(from) || f.Sent.After(to) {
			continue
		}
		all++
		if f.Layer == layer {
			of++
		}
	}
	return float64(of) / float64(max(all, 1))
}

// log tells what came of a plan.
func (a *adapted) log() {
	r := a.viewer.Report()
	a.t.Logf("%d frames, %d undecodable, gap %v; sound p99 %v, gap %v, missing %d; %d duplicates; %+v", len(r.Video().Frames), r.Video().Undecodable(),
		r.Video().Gap(), r.Audio().Latency(0.99), r.Audio().Gap(), r.Audio().Missing, r.Video().Duplicates, a.node.edge.Stats().Sessions[0].Path)
	last := -1
	for _, f := range a.layers() {
		if f.Layer != last {
			a.t.Logf("%7.2f layer %d", f.Sent.Sub(a.began[0]).Seconds(), f.Layer)
		}
		last = f.Layer
	}
}

func narrow(bits int) cdntest.Path {
	return cdntest.Path{Delay: ms(50), Rate: bits, Queue: ms(300)}
}

// receivers are viewers that report in different ways, and how much longer than the bars
// say they may take.
var receivers = map[string]struct {
	config cdntest.ViewerConfig
	slower time.Duration
}{
	"chromium":  {asChromium(), 1},
	"transport": {cdntest.ViewerConfig{TransportFeedback: true}, 3}, // while the server dozes, it reports once a second
	"REMB":      {cdntest.ViewerConfig{Tune: withREMB}, 3},
	"reports":   {cdntest.ViewerConfig{}, 3},
}

// The capacity falls and rises (RFC 8867 section 5.1, and times 2.5): the layer that fits
// is sent soon after.
func TestAdaptToVariableCapacity(t *testing.T) {
	skipPeerConnections(t)
	plans := map[string][]stretch{
		"variable": {
			{narrow(1_000_000), 40 * time.Second, 1},
			{narrow(2_500_000), 20 * time.Second, 2},
			{narrow(600_000), 20 * time.Second, 0},
			{narrow(1_000_000), 20 * time.Second, 1},
		},
		"variable x2.5": {
			{narrow(2_500_000), 40 * time.Second, 2},
			{narrow(6_250_000), 20 * time.Second, 3},
			{narrow(1_500_000), 20 * time.Second, 1},
			{narrow(2_500_000), 20 * time.Second, 2},
		},
	}
	for _, row := range someOf(pairs(slices.Sorted(maps.Keys(plans)), []string{"chromium", "transport"})) {
		stretches, r := plans[row[0]], receivers[row[1]]
		t.Run(row[0]+" "+row[1], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newWorld(t).adapt(rungs, r.config, stretches...)
				a.log()
				for i, s := range stretches[1:] {
					begun, until := a.began[i+1], a.began[i+2]
					if s.path.Rate > stretches[i].path.Rate {
						took := a.since(begun, until, func(l int) bool { return l >= s.fits })
						require.LessOrEqual(t, took, r.slower*8*time.Second, "stretch %d", i+1)
					} else {
						took := a.since(begun, until, func(l int) bool { return l <= s.fits })
						require.LessOrEqual(t, took, r.slower*time.Second, "stretch %d", i+1)
					}
				}
			})
		})
	}
}

// pairs returns each of a with each of b.
func pairs(a, b []string) (all [][2]string) {
	for _, x := range a {
		for _, y := range b {
			all = append(all, [2]string{x, y})
		}
	}
	return all
}

// On a path of 3.5 Mbit/s a viewer keeps the best layer, whatever it reports.
func TestAdaptSteadily(t *testing.T) {
	skipPeerConnections(t)
	for _, name := range someOf(slices.Sorted(maps.Keys(receivers))) {
		r := receivers[name]
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newWorld(t).adapt(rungs, r.config, stretch{narrow(3_500_000), span(180 * time.Second), 3})
				a.log()
				if !raceEnabled { // the start counts for too much of the shorter span
					require.GreaterOrEqual(t, a.share(a.began[0], a.began[1], 3), 0.95)
				}
				require.LessOrEqual(t, a.switches(a.began[0].Add(15*time.Second), a.began[1]), 3)
			})
		})
	}
}

// Neither losses that the path has at any rate, nor jitter that reorders packets, cost a
// layer.
func TestAdaptToBadPathsThatCarryAll(t *testing.T) {
	skipPeerConnections(t)
	paths := map[string]cdntest.Path{
		"5 % loss":                        {Delay: ms(50), Loss: 0.05},
		"50 ms of jitter, reordering":     {Delay: ms(50), Jitter: ms(50)},
		"50 ms of jitter, in their order": {Delay: ms(50), Jitter: ms(50), JitterPeriod: ms(200), Reorder: 0.01},
	}
	for _, row := range someOf(pairs(slices.Sorted(maps.Keys(paths)), slices.Sorted(maps.Keys(receivers)))) {
		path, r := paths[row[0]], receivers[row[1]]
		t.Run(row[0]+" "+row[1], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newWorld(t).adapt(rungs, r.config, stretch{path, span(180 * time.Second), 3})
				a.log()
				for _, e := range a.events {
					if e, ok := e.(cdn.ViewerSlow); ok {
						t.Errorf("a step down: %+v", e)
					}
				}
				require.Zero(t, a.switches(a.began[0], a.began[1]))
			})
		})
	}
}

// Half of the feedback is lost, and all of it for 3 s: video goes on, and is the best again
// soon.
func TestAdaptWithoutFeedback(t *testing.T) {
	skipPeerConnections(t)
	for name, c := range someIn(map[string]struct {
		loss float64
		long time.Duration
	}{"half": {0.5, 40 * time.Second}, "all": {1, 3 * time.Second}}) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newWorld(t).adapt(rungs, asChromium(), stretch{narrow(3_500_000), 15 * time.Second, 3})
				a.host.SetUplink(cdntest.Path{Delay: ms(50), Loss: c.loss})
				time.Sleep(c.long)
				a.host.SetUplink(cdntest.Path{Delay: ms(50)})
				healed := time.Now()
				time.Sleep(15 * time.Second)
				a.log()
				require.Less(t, a.viewer.Report().Video().Gap(), time.Second)
				require.LessOrEqual(t, a.since(healed, time.Now(), func(l int) bool { return l == 3 }), 8*time.Second)
			})
		})
	}
}

// Nothing comes for 5 s: then sound does first, and the picture within 2 s.
func TestAdaptToAnOutage(t *testing.T) {
	skipPeerConnections(t)
	synctest.Test(t, func(t *testing.T) {
		a := newWorld(t).adapt(rungs, asChromium(), stretch{narrow(3_500_000), 15 * time.Second, 3})
		a.host.Cut()
		time.Sleep(5 * time.Second)
		a.host.Heal()
		healed := time.Now()
		time.Sleep(15 * time.Second)
		a.log()
		sound := a.viewer.Report().Audio().Frames
		first := sound[slices.IndexFunc(sound, func(f cdntest.Frame) bool { return f.Done.After(healed) })]
		require.LessOrEqual(t, first.Done.Sub(healed), ms(300))
		require.LessOrEqual(t, a.since(healed, time.Now(), func(int) bool { return true }), 2*time.Second)
		require.LessOrEqual(t, a.since(healed, time.Now(), func(l int) bool { return l == 3 }), 12*time.Second)
	})
}

// A single layer that the path does not carry: sound is whole, and the viewer is told. With
// temporal layers the picture moves; without, there are keyframes or none.
func TestAdaptASingleLayerToANarrowPath(t *testing.T) {
	skipPeerConnections(t)
	for name, temporal := range someIn(map[string]bool{"plain": false, "temporal layers": true}) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				video := &cdntest.Video{Bitrate: 2_500_000, KeyframeInterval: 4 * time.Second, Temporal: temporal}
				a := newWorld(t).adaptVideo(video, asChromium(), stretch{narrow(1_000_000), 0, -1})
				var told time.Time
				for range 310 {
					time.Sleep(100 * time.Millisecond)
					events := a.told()
					isTold := func(e cdn.Event) bool { _, ok := e.(cdn.ViewerSlow); return ok }
					if told.IsZero() && slices.ContainsFunc(events, isTold) {
						told = time.Now()
					}
				}
				a.log()
				require.False(t, told.IsZero())
				require.LessOrEqual(t, told.Sub(a.viewer.Report().Audio().Frames[0].Sent), time.Second)
				from, until := a.began[0].Add(2*time.Second), time.Now().Add(-time.Second)
				a.requireSound(from, until, ms(40))
				frames, late, gap := a.shown(from, until)
				t.Logf("%d frames, at most %v late, gap %v", frames, late, gap)
				require.LessOrEqual(t, late, ms(400))
				if temporal {
					require.Less(t, gap, ms(400), "it moves")
					require.GreaterOrEqual(t, frames, 28*7)
				} else {
					require.GreaterOrEqual(t, frames, 6, "keyframes")
				}
			})
		})
	}
}

// A single layer that the path almost carries: one that loses a few per cent of it has no room for
// repairs, and no picture would be whole. So keyframes are sent, which are, and sound is lost only
// until that is found out.
func TestAdaptASingleLayerToAPathThatAlmostCarriesIt(t *testing.T) {
	skipPeerConnections(t)
	synctest.Test(t, func(t *testing.T) {
		video := &cdntest.Video{Bitrate: 2_500_000, KeyframeInterval: 4 * time.Second}
		a := newWorld(t).adaptVideo(video, asChromium(), stretch{narrow(2_600_000), 0, -1})
		time.Sleep(31 * time.Second)
		a.log()
		from, until := a.began[0].Add(8*time.Second), time.Now().Add(-time.Second)
		a.requireSound(from, until, ms(40))
		frames, late, _ := a.shown(from, until)
		require.GreaterOrEqual(t, frames, 4)
		require.LessOrEqual(t, late, ms(400))
	})
}

// requireSound: of what was sent between two times no sound is lost, and none is later than the
// one ahead of it by more than most.
func (a *adapted) requireSound(from, until time.Time, most time.Duration) {
	a.t.Helper()
	var last time.Time
	worst, numbers := time.Duration(0), []uint32{}
	for _, f := range a.viewer.Report().Audio().Frames {
		if f.Sent.After(from) && f.Sent.Before(until) {
			numbers = append(numbers, f.Number)
			if !last.IsZero() {
				worst = max(worst, f.Done.Sub(last)-ms(20))
			}
			last = f.Done
		}
	}
	require.NotEmpty(a.t, numbers)
	require.Equal(a.t, int(slices.Max(numbers)-slices.Min(numbers))+1, len(numbers), "no sound is lost")
	require.LessOrEqual(a.t, worst, most)
}

// shown returns how many frames were shown of what was sent between two times, how late the
// latest was, beside what the path of 1 Mbit/s takes for it, and the longest time between two.
func (a *adapted) shown(from, until time.Time) (frames int, late, gap time.Duration) {
	var last time.Time
	for _, f := range a.layers() {
		if f.Sent.Before(from) || f.Sent.After(until) {
			continue
		}
		frames++
		takes := time.Duration(8*f.Bytes) * time.Microsecond
		late = max(late, f.Done.Sub(f.Sent)-ms(50)-takes)
		if !last.IsZero() {
			gap = max(gap, f.Sent.Sub(last))
		}
		last = f.Sent
	}
	return frames, late, gap
}

// Strategies say what viewers begin with.
func TestAdaptByStrategy(t *testing.T) {
	skipPeerConnections(t)
	rows := map[string]struct {
		adapt edge.Adapt
		first int
	}{
		"by default":          {edge.Adapt{}, 3},
		"quality":             {edge.Adapt{Strategy: edge.StrategyQuality}, 3},
		"balanced":            {edge.Adapt{Strategy: edge.StrategyBalanced}, 1},
		"careful":             {edge.Adapt{Strategy: edge.StrategyCareful}, 0},
		"2 Mbit/s at first":   {edge.Adapt{FirstBitrate: 2_000_000}, 2},
		"the lowest at first": {edge.Adapt{Strategy: edge.StrategyQuality, FirstBitrate: -1}, 0},
	}
	for _, name := range someOf(slices.Sorted(maps.Keys(rows))) {
		c := rows[name]
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				e := w.edge("edge", cdntest.Path{}, edge.Config{Adapt: func(cdn.StreamID) edge.Adapt { return c.adapt }}, o)
				video := &cdntest.Video{}
				for i, bits := range rungs {
					video.Layers = append(video.Layers, cdntest.VideoLayer{RID: string(rune('a' + i)), Bitrate: bits})
				}
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: video, Audio: &cdntest.Audio{}})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				w.view(e, "live", "first", cdntest.Path{}, cdntest.ViewerConfig{})
				time.Sleep(5 * time.Second) // all bitrates are known
				v := w.view(e, "live", "viewer", cdntest.Path{Delay: ms(20)}, cdntest.ViewerConfig{TransportFeedback: true})
				require.NoError(t, v.WaitFrames(w.within(5*time.Second), 10))
				require.Equal(t, c.first, v.Report().Video().Frames[0].Layer)
				time.Sleep(20 * time.Second)
				frames := v.Report().Video().Frames
				require.Equal(t, 3, frames[len(frames)-1].Layer, "it climbs")
			})
		})
	}
}
