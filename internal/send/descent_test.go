package send

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// A viewer whose path is narrow does not wait for the publisher's next keyframe of a lower layer,
// if the last one was a moment ago. To the viewer that looks live, and in the end it is.
func TestDownToAKeyframeThatHasPassed(t *testing.T) {
	for name, c := range map[string]struct {
		ago    time.Duration
		begins bool
	}{"a moment ago": {200 * ms, true}, "long ago": {700 * ms, false}} {
		t.Run(name, func(t *testing.T) {
			onScript(t, true, func(a *adapting) {
				a.low.Obeys, a.high.Obeys = false, false
				key := a.low.Next
				a.Play(c.ago, key)
				count, before := len(a.Packets), a.last()
				a.step(a.at(0), allot.Congestion)
				if !c.begins {
					require.Equal(t, "h", a.sender.feed.layer.Name())
					return
				}
				require.Equal(t, "l", a.sender.feed.layer.Name())
				for a.Packets[count].Payload[1]&1 != 0 {
					count++
				}
				begun := a.Packets[count]
				require.Equal(t, key, begun.Frame())
				require.InDelta(t, 0, (begun.At.Sub(before.At) - ticks(begun.Timestamp-before.Timestamp)).Seconds(), 0.15)
				a.Play(4 * time.Second)
				a.requireNoGap()
				require.Equal(t, live, a.sender.mode)
				require.Less(t, a.Age(a.last()), 40*ms)
			})
		})
	}
}

// While the path is taken to be busy, a keyframe waits.
func TestAPacerHolds(t *testing.T) {
	now := time.Unix(1000, 0)
	var p pacer
	p.hold(now, time.Second)
	require.True(t, p.open(now), "nothing is paced")
	p.setRate(now, 1e6, 4)
	require.True(t, p.open(now))
	p.hold(now, 100*ms)
	require.False(t, p.open(now))
	p.waits = true
	require.Equal(t, now.Add(100*ms-groupEarly), p.dueAt())
	require.False(t, p.open(now.Add(90*ms)))
	require.True(t, p.open(now.Add(99*ms)))
	p.hold(now, 3*time.Second) // no longer than for all else
	require.True(t, p.open(now.Add(mostAhead)))
}

// A path of which nothing arrives is paced, too, and a packet leaves some time.
func TestAPacerWithoutARate(t *testing.T) {
	now := time.Unix(1000, 0)
	var p pacer
	p.setRate(now, 0, 4)
	require.Equal(t, 200*ms, p.takes(pacedPacket).Round(ms))
}

// onTemporalLayers calls f with encoders of two layers with three temporal layers each, and a
// viewer that is sent the higher one.
func onTemporalLayers(t *testing.T, f func(low, high *encoder, s *script)) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(v *viewer) {
		s := &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}
		low := &encoder{viewer: &viewer{World: v.World, layer: v.Layers[0]}, seq: 100}
		v.layer = v.Layers[1]
		high := &encoder{viewer: v, seq: 65500}
		both(low, high, 60, true)
		v.add(Config{Policy: func() allot.Policy { return s }})
		v.set.Start()
		both(low, high, 60, true)
		require.Equal(t, "h", v.sender.feed.layer.Name())
		f(low, high, s)
	})
}

// both has both encoders publish frames, and high's viewer served. The first may be a keyframe.
func both(low, high *encoder, frames int, key bool) {
	for i := range frames {
		for _, e := range []*encoder{low, high} {
			f := e.encode(key && i == 0)
			for at := range f.packets {
				e.publish(f, at)
			}
		}
		time.Sleep(33 * ms)
		high.serve()
	}
}

// Until the keyframe of a lower layer comes, the base layer of the present one goes on.
func TestTheBaseLayerGoesOnMeanwhile(t *testing.T) {
	onTemporalLayers(t, func(low, high *encoder, s *script) {
		s.next = allot.Choice{Rung: s.view.Ladder.Find(allot.Rung{Mode: allot.Full}), Reason: allot.Congestion}
		both(low, high, 8, false)
		require.Equal(t, "l", high.sender.target().Name())
		count := len(high.Packets)
		both(low, high, 32, false)
		require.Equal(t, "h", high.sender.feed.layer.Name())
		frames := 0
		for _, p := range high.Packets[count:] {
			require.Zero(t, p.Payload[5]>>6, "of the base layer")
			frames += int(p.Payload[0] >> 4 & 1)
		}
		require.Equal(t, 8, frames)
		count = len(high.Packets)
		both(low, high, 32, true)
		require.Equal(t, "l", high.sender.feed.layer.Name())
		high.requireDecodable()
		frames = 0
		for _, p := range high.Packets[count:] {
			frames += int(p.Payload[0] >> 4 & 1)
		}
		require.Equal(t, 32, frames, "all of the lower layer")
	})
}

// If the step down is taken back, all of the layer is sent again.
func TestABridgeThatIsTakenBack(t *testing.T) {
	onTemporalLayers(t, func(low, high *encoder, s *script) {
		s.next = allot.Choice{Rung: s.view.Ladder.Find(allot.Rung{Mode: allot.Full}), Reason: allot.Congestion}
		both(low, high, 8, false)
		require.True(t, high.sender.stopped.bridges)
		s.next = allot.Choice{Rung: 99, Reason: allot.Room}
		both(low, high, 16, false)
		require.False(t, high.sender.stopped.bridges)
		count := len(high.Packets)
		both(low, high, 16, false)
		frames := 0
		for _, p := range high.Packets[count:] {
			frames += int(p.Payload[0] >> 4 & 1)
		}
		require.Equal(t, 16, frames)
		high.requireDecodable()
	})
}

// The base layer does not go on where it is too much, or where packets are lost that it refers to.
func TestWhatIsBridged(t *testing.T) {
	onTemporalLayers(t, func(_, high *encoder, _ *script) {
		now := time.Now()
		base := high.sender.feed.layer.Cost().Temporal[0]
		for name, c := range map[string]struct {
			state bwe.State
			want  bool
		}{
			"fits":     {bwe.State{Bitrate: 2 * base}, true},
			"too much": {bwe.State{Bitrate: base}, false},
			"losses":   {bwe.State{Bitrate: 2 * base, Loss: 0.1}, false},
			"usual":    {bwe.State{Bitrate: 2 * base, Loss: 0.05, Inherent: 0.05}, true},
		} {
			require.Equal(t, c.want, high.set.canBridge(now, &c.state), name)
		}
	})
}

// After a step down that begins with a keyframe, losses are reported of what was sent ahead of it.
// A further step does not wait for yet another keyframe because of them.
func TestLossesAheadOfAStepAreOld(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		lossy := &bwe.State{Loss: 0.4}
		loses := func() bool {
			a.set.mu.Lock()
			defer a.set.mu.Unlock()
			return a.set.adaptation.loses(time.Now(), lossy)
		}
		require.True(t, loses())
		a.step(a.at(0), allot.Congestion)
		require.False(t, loses())
		a.Play(lossShows)
		require.True(t, loses())
	})
}
