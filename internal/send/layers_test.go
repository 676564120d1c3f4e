package send

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// A ladder is a video in two layers as they come from another node, and one viewer of it
// that only the test switches.
type ladder struct {
	*viewer
	low, high *sendtest.Layer
}

func onLadder(t *testing.T, f func(l *ladder)) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("l", "h"), Path: []cdn.NodeID{"origin"}}, func(v *viewer) {
		l := &ladder{viewer: v, low: v.Layers[0], high: v.Layers[1]}
		l.low.Offset, l.high.Offset = 1<<20, 1<<31
		l.low.Obeys, l.high.Obeys = true, true
		l.Tick = 5 * ms
		l.add(Config{Layer: "l"})
		l.sender.next.check = time.Now().Add(time.Hour)
		f(l)
	})
}

func (l *ladder) pauseFor(d time.Duration) {
	l.change(func(s *Sender) { s.pause(time.Now(), time.Now().Add(d), time.Now().Add(d)) })
}

// drift is how far a packet's timestamp is behind what the first one's says,
// by the publisher's clock.
func (l *ladder) drift(first, p sendtest.Packet) time.Duration {
	return time.Duration(p.Frame()-first.Frame())*sendtest.FrameTime - ticks(p.Timestamp-first.Timestamp)
}

// requireInTime: timestamps never go back, and all but what was caught up with
// go with the publisher's clock, as does the last sender report.
func (l *ladder) requireInTime(first sendtest.Packet) {
	l.Helper()
	for i, p := range l.Packets[1:] {
		before := l.Packets[i]
		if p.SequenceNumber == before.SequenceNumber+1 && int32(p.Timestamp-before.Timestamp) > 0 {
			continue // an assertion for each packet would be much of the tests' time
		}
		require.Equal(l, before.SequenceNumber+1, p.SequenceNumber)
		require.Greater(l, int32(p.Timestamp-before.Timestamp), int32(0), "packet %d", i+1)
	}
	last := l.last()
	require.Less(l, last.At.Sub(l.Made(last.Frame())), 100*ms, "it is live")
	require.InDelta(l, 0, l.drift(first, last).Seconds(), 0.001)
	if l.low.Silent {
		return
	}
	require.InDelta(l, 0, l.Made(last.Frame()).Sub(l.told(last)).Seconds(), 0.001, "sound and video stay together")
}

// begin begins to serve the viewer; what it is sent then is in time.
func (l *ladder) begin() (first sendtest.Packet) {
	l.low.RequestKeyframe()
	l.high.RequestKeyframe()
	l.Play(200 * ms)
	l.set.Start()
	l.Play(3 * time.Second)
	return l.last()
}

// Layers with different delays are aligned by the publisher's clock, however often a viewer
// switches between them.
func TestSwitchesLeaveNoDrift(t *testing.T) {
	onLadder(t, func(l *ladder) {
		l.high.Delay = 90 * ms
		first := l.begin()
		for i := range 20 {
			l.switchTo([]*sendtest.Layer{l.high, l.low}[i%2])
			l.Play(700 * ms)
			require.Equal(t, []*sendtest.Layer{l.high, l.low}[i%2].Layer, l.sender.feed.layer)
			l.requireInTime(first)
		}
	})
}

// A viewer whose layer has stopped switches to one that begins with an old keyframe. To the
// viewer that looks live, and it is live when the viewer has caught up, even if the layer
// stops for a while in between.
func TestSwitchToALayerThatCatchesUp(t *testing.T) {
	for _, stops := range []bool{false, true} {
		onLadder(t, func(l *ladder) {
			l.high.Off = true
			first := l.begin()
			for range 3 {
				l.low.Off = true
				l.Play(1200 * ms)
				count := len(l.Packets)
				l.switchTo(l.high)
				l.high.Resume(36)
				l.Play(50 * ms)
				if stops {
					l.high.Stop = l.Newest() + 45
				}
				l.Play(5 * time.Second)
				require.Equal(t, l.high.Layer, l.sender.feed.layer)
				begun := l.Packets[count]
				require.InDelta(t, 0, (begun.At.Sub(l.Packets[count-1].At) - ticks(begun.Timestamp-l.Packets[count-1].Timestamp)).Seconds(), 0.1, "it looks live")
				require.Equal(t, live, l.sender.mode)
				l.requireInTime(first)
				l.low.Resume(0)
				l.switchTo(l.low)
				l.Play(time.Second)
				l.requireInTime(first)
			}
		})
	}
}

// If a node catches up in several bursts, and no sender report tells how far it is behind, no
// delay remains either.
func TestBurstsFromUpstream(t *testing.T) {
	onLadder(t, func(l *ladder) {
		l.low.Silent, l.high.Silent = true, true
		l.low.RequestKeyframe()
		l.Begun = l.Begun.Add(-6 * time.Second) // of which this node knows nothing yet
		l.set.Start()
		for _, until := range []int{40, 90, 140} {
			for l.low.Next < until {
				l.low.Frame(false)
				time.Sleep(sendtest.FrameTime / 8)
				l.set.Consume(time.Now(), nil)
			}
			time.Sleep(300 * ms)
			l.set.Consume(time.Now(), nil)
		}
		l.Play(5 * time.Second)
		first, last := l.Packets[0], l.last()
		late := last.At.Sub(first.At) - ticks(last.Timestamp-first.Timestamp)
		require.InDelta(t, 0, late.Seconds(), 0.1)
	})
}

// A viewer that is more than a second behind, after a stall and a pause, is in time again when
// it switches to a layer that is live.
func TestSwitchFromFarBehind(t *testing.T) {
	onLadder(t, func(l *ladder) {
		first := l.begin()
		l.low.Off = true
		l.Play(3 * time.Second)
		l.low.Resume(60)
		l.Play(20 * ms)
		l.low.Off = true
		l.pauseFor(0)
		l.Play(2 * time.Second)
		l.switchTo(l.high)
		l.Play(3 * time.Second)
		require.Equal(t, l.high.Layer, l.sender.feed.layer)
		l.requireInTime(first)
	})
}

// Whatever happens, in whatever order, a viewer's timestamps go with the publisher's clock
// when it is over, and its sender's mode changes only as drawn.
func TestNothingLeavesDrift(t *testing.T) {
	picture := drawn(t)
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			onLadder(t, func(l *ladder) {
				r := rand.New(rand.NewPCG(seed, 0))
				l.set.config.onMode = func(from, to mode, on event) { require.Contains(t, picture, transition(from, to, on)) }
				first := l.begin()
				layers := []*sendtest.Layer{l.low, l.high}
				for range 30 {
					some := layers[r.IntN(2)]
					switch r.IntN(6) {
					case 0, 1:
						l.switchTo(some)
					case 2:
						l.pauseFor(time.Duration(r.IntN(2000)) * ms)
					case 3:
						some.Off = true
					case 4:
						some.Resume(r.IntN(60))
					case 5:
						some.Stop = l.Newest() + r.IntN(30)
					}
					l.Play(time.Duration(r.IntN(1000)) * ms)
				}
				l.low.Resume(0)
				l.high.Resume(0)
				l.switchTo(l.low)
				l.Play(12 * time.Second)
				l.requireInTime(first)
			})
		})
	}
}

// A viewer whose layer has stopped is not shown again what it has seen: it switches to a layer
// that catches up once that has come as far.
func TestASwitchShowsNothingOlder(t *testing.T) {
	onLadder(t, func(l *ladder) {
		l.high.Off = true
		l.begin()
		l.low.Off = true
		l.Play(1200 * ms)
		count, last := len(l.Packets), l.last().Frame()
		l.switchTo(l.high)
		l.high.Resume(120)
		l.Play(5 * time.Second)
		require.Equal(t, l.high.Layer, l.sender.feed.layer)
		require.Greater(t, len(l.Packets), count+100)
		for _, p := range l.Packets[count:] {
			require.GreaterOrEqual(t, p.Frame(), last-int(fresh/sendtest.FrameTime))
		}
	})
}
