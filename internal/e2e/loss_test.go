package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// Each hop repairs its own losses: with 5 % of them and 30 ms of jitter on each
// of three hops, nearly all frames are whole in time.
func TestLossAndJitterOnEveryHop(t *testing.T) {
	for _, delay := range someOf([]time.Duration{ms(20), ms(30)}) {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testLossAndJitter(t, delay, 5) }) // 1 to 4: TestLossAndJitterOnAverage
		})
	}
}

// testLossAndJitter returns the share of frames that are whole within a second.
func testLossAndJitter(t *testing.T, delay time.Duration, seed uint64) float64 {
	bad := cdntest.Path{Delay: delay, Jitter: ms(30), Loss: 0.05}
	w := newWorld(t)
	w.network = cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: seed})
	o := w.origin("origin", cdntest.Path{}, origin.Config{})
	e := w.edge("edge", cdntest.Path{}, edge.Config{}, o)
	publisher, viewer := w.network.Host("publisher of live", cdntest.Path{}), w.network.Host("viewer", cdntest.Path{})
	w.network.Between(publisher, o.host, bad)
	w.network.Between(o.host, e.host, bad)
	w.network.Between(e.host, viewer, bad)
	p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 2_000_000}})
	require.NoError(t, p.WaitConnected(w.within(20*time.Second)))
	v := w.view(e, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
	frames, least := 3000, 0.99
	if raceEnabled { // of fewer frames, a few are a larger share
		frames, least = 600, 0.97
	}
	require.NoError(t, v.WaitFrames(w.within(3*time.Minute), frames))

	r := v.Report().Video()
	require.Zero(t, r.FaultCount, r.Faults)
	// What was lost before the first packet that came cannot be asked for, what
	// the viewer caught up with was not new, and the last frames may be on their
	// way: every frame between counts.
	first, last := r.Frames[0].Number+90, uint32(0)
	for _, f := range r.Frames {
		last = max(last, f.Number)
	}
	last -= 60
	whole := func(within time.Duration) float64 {
		n := 0
		for _, f := range r.Frames {
			if f.Number >= first && f.Number < last && f.Latency() <= within {
				n++
			}
		}
		return float64(n) / float64(last-first)
	}
	bound := 3*(delay+ms(30)) + 2*3*2*delay + ms(60)
	t.Logf("latency p50 %v p99 %v p99.9 %v worst %v; within %v: %.2f %%, within 1 s: %.3f %%; sent again by the edge: %d of %d",
		r.Latency(0.5), r.Latency(0.99), r.Latency(0.999), r.Latency(1), bound, 100*whole(bound), 100*whole(time.Second),
		e.edge.Stats().Resent, e.edge.Stats().Packets)
	came := map[uint32]bool{}
	for _, f := range r.Frames {
		came[f.Number] = true
		if f.Latency() > time.Second {
			t.Logf("frame %d came after %v", f.Number, f.Latency())
		}
	}
	for n := first; n < last; n++ {
		if !came[n] {
			t.Logf("frame %d never came whole", n)
		}
	}
	require.GreaterOrEqual(t, whole(bound), least)
	return whole(time.Second)
}

// A viewer behind less than the stream needs is noticed and loses video, while
// others lose nothing.
func TestSlowViewerHurtsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("origin", path, origin.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{
			Video: &cdntest.Video{Bitrate: 2_500_000}, Audio: &cdntest.Audio{},
		})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		narrow := path
		narrow.Rate = 1_000_000
		slow := w.view(o, "live", "slow", narrow, cdntest.ViewerConfig{})
		fast := w.view(o, "live", "fast", path, cdntest.ViewerConfig{})
		require.NoError(t, fast.WaitFrames(w.within(time.Minute), 600))

		r := fast.Report().Video()
		require.Zero(t, r.Missing+r.Partial+r.Absent+r.FaultCount)
		var keyframe time.Time
		for _, f := range r.Frames[30:] { // the first ones were cached
			if f.Key {
				keyframe = f.Sent
			}
			// A keyframe of 35 packets leaves at 4 Mbit/s or more, once its first ten are out, and
			// what follows makes up for that. The slow viewer is begun with a keyframe of its own
			// if it gets keyframes after none: of that, nothing leaves ahead of the others if it
			// comes just behind another.
			if f.Sent.Sub(keyframe) < ms(250) {
				require.LessOrEqual(t, f.Latency(), ms(40)+ms(90), "frame %d", f.Number)
				continue
			}
			require.Equal(t, ms(40), f.Latency(), "nothing that was sent to another delayed frame %d", f.Number)
		}
		var told []cdn.ViewerSlow
		for len(w.events) > 0 {
			if s, ok := (<-w.events).(cdn.ViewerSlow); ok {
				told = append(told, s)
			}
		}
		require.NotEmpty(t, told, "the slow viewer was noticed")
		s := slow.Report()
		t.Logf("slow: %d frames, %d partial, latency p50 %v p99 %v; sound p50 %v p99 %v; %d measures", len(s.Video().Frames),
			s.Video().Partial, s.Video().Latency(0.5), s.Video().Latency(0.99), s.Audio().Latency(0.5), s.Audio().Latency(0.99), len(told))
		require.True(t, told[0].Keyframes || told[0].Paused, told[0])
	})
}
