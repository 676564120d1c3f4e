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
	withTemporalLayers(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(all []*encoder, s *script) { f(all[0], all[1], s) })
}

// withTemporalLayers is onTemporalLayers with tracks of the test's own. A second track has no temporal
// layers, and nothing comes of it until the test says so.
func withTemporalLayers(t *testing.T, c sendtest.Config, f func(all []*encoder, s *script)) {
	withViewer(t, c, func(v *viewer) {
		s := &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}
		var all []*encoder
		for i, l := range v.Layers {
			all = append(all, &encoder{viewer: &viewer{World: v.World, layer: l}, seq: uint16(100 - 136*i)})
		}
		v.layer = v.Layers[len(v.Layers)-1]
		all[len(all)-1].viewer = v
		together(all, 60, true)
		v.add(Config{Policy: func() allot.Policy { return s }})
		for _, l := range v.Second[max(len(v.Second)-1, 0):] {
			v.set.Add(&Line{Track: l.Layer.Track(), PT: 98}, l.Layer, "").Bind(Output{To: &sendtest.Receiver{}, SSRC: 3})
		}
		v.set.Start()
		together(all, 60, true)
		require.Equal(t, "h", v.sender.feed.layer.Name())
		f(all, s)
	})
}

// both has both encoders publish frames, and high's viewer served. The first may be a keyframe.
func both(low, high *encoder, frames int, key bool) { together([]*encoder{low, high}, frames, key) }

// together is both with as many encoders as there are, the last of which has the viewer.
func together(all []*encoder, frames int, key bool) {
	for i := range frames {
		for _, e := range all {
			f := e.encode(key && i == 0)
			for at := range f.packets {
				e.publish(f, at)
			}
		}
		time.Sleep(33 * ms)
		all[len(all)-1].serve()
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
		require.Nil(t, high.sender.next.layer)
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

// If a part of the step down is taken back ahead of the lower layer's keyframe, there is still no room
// for all of the highest.
func TestABridgeThatIsTakenBackInPart(t *testing.T) {
	withTemporalLayers(t, sendtest.Config{Track: sendtest.VP8("l", "m", "h")}, func(all []*encoder, s *script) {
		high := all[2]
		s.next = allot.Choice{Rung: s.view.Ladder.Find(allot.Rung{Mode: allot.Full}), Reason: allot.Congestion}
		together(all, 8, false)
		require.True(t, high.sender.stopped.bridges)
		s.next = allot.Choice{Rung: s.view.Ladder.Find(allot.Rung{Mode: allot.Full, Layer: 1}), Reason: allot.Room}
		together(all, 8, false)
		require.Equal(t, 1, high.set.adaptation.sent.Layer)
		count := len(high.Packets)
		together(all, 32, false)
		require.Equal(t, "h", high.sender.feed.layer.Name())
		require.Greater(t, len(high.Packets), count)
		for _, p := range high.Packets[count:] {
			require.Zero(t, p.Payload[5]>>6, "of the base layer")
		}
		count = len(high.Packets)
		together(all, 32, true)
		require.NotEqual(t, "h", high.sender.feed.layer.Name())
		require.Greater(t, len(high.Packets), count+32, "all of the lower layer")
		high.requireDecodable()
	})
}

// A part of a lower layer is paced by what it takes: the base layer of the higher one would be late.
func TestNoBridgeToAPart(t *testing.T) {
	onTemporalLayers(t, func(low, high *encoder, s *script) {
		s.next = allot.Choice{Rung: s.view.Ladder.Find(allot.Rung{Mode: allot.Partial}), Reason: allot.Congestion}
		both(low, high, 8, false)
		require.Equal(t, allot.Partial, high.set.adaptation.sent.Mode)
		require.False(t, high.sender.stopped.bridges)
		require.Equal(t, noLayer, high.sender.stopped.halted)
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
			require.Equal(t, c.want, high.set.canBridge(now, allot.Rung{Mode: allot.Full}, &c.state), name)
		}
	})
}

// A second track that keeps its layer takes all of that beside a bridge. Without media it takes nothing.
func TestWhatStaysBesideABridge(t *testing.T) {
	screen := sendtest.VP8("s")
	screen.ID = "screen"
	withTemporalLayers(t, sendtest.Config{Track: sendtest.VP8("l", "h"), Second: screen}, func(all []*encoder, _ *script) {
		high := all[1]
		base := high.sender.feed.layer.Cost().Temporal[0]
		bridges := func(rate float64) bool {
			return high.set.canBridge(time.Now(), allot.Rung{Mode: allot.Full}, &bwe.State{Bitrate: rate})
		}
		require.True(t, bridges(2*base))
		second := high.Second[0]
		second.Filler, second.Height = 500, 360
		for range 60 {
			second.Frame(second.Next == 0)
			together(all, 1, false)
		}
		cost := second.Layer.Cost().Bitrate
		require.Greater(t, cost, base)
		require.False(t, bridges(2*base))
		require.True(t, bridges(1.3*(base+cost)))
	})
	screen.Layers = append(screen.Layers, "above")
	withTemporalLayers(t, sendtest.Config{Track: sendtest.VP8("l", "h"), Second: screen}, func(all []*encoder, _ *script) {
		base := all[1].sender.feed.layer.Cost().Temporal[0]
		require.True(t, all[1].set.canBridge(time.Now(), allot.Rung{Mode: allot.Full}, &bwe.State{Bitrate: 2 * base}))
	})
}

// A keyframe of the next layer that waits for the pacer has the sender woken, and one that is awaited
// is begun with, however long the pacer has held it.
func TestAKeyframeThatThePacerHolds(t *testing.T) {
	const long = 400 * ms
	for name, wait := range map[string]func(a *adapting){
		"of the next layer":    func(a *adapting) { a.step(a.at(0), allot.Congestion) },
		"of the present layer": func(a *adapting) { a.pause() },
	} {
		t.Run(name, func(t *testing.T) {
			onScript(t, true, func(a *adapting) {
				a.low.Obeys, a.high.Obeys = false, false
				a.change(func(s *Sender) { s.shedding.times = 1 })
				a.Play(time.Second)
				wait(a)
				l := map[bool]*sendtest.Layer{true: a.low, false: a.high}[a.sender.next.layer != nil]
				count := len(a.Packets)
				held := time.Now()
				hold := func() {
					a.set.pace.setRate(held, 1e6, 4)
					a.set.pace.hold(held, long)
				}
				serve := func() { // the set has set its own rate
					a.change(func(s *Sender) { hold(); s.advance(time.Now()) })
				}
				l.Frame(true)
				key := l.Next - 1
				serve()
				require.Len(t, a.Packets, count)
				require.Equal(t, a.set.pace.dueAt(), a.sender.dueAt(time.Now()))
				for range 7 {
					time.Sleep(50 * ms)
					serve()
				}
				require.Len(t, a.Packets, count)
				time.Sleep(50 * ms)
				serve()
				require.Greater(t, len(a.Packets), count)
				require.Equal(t, key, a.Packets[count].Frame())
			})
		})
	}
}

// What followed a keyframe that has passed is not late, and the node is not behind.
func TestWhatFollowedAnOldKeyframeIsNotLate(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		a.low.Obeys, a.high.Obeys, a.high.Delay = false, false, 250*ms
		a.Play(3 * time.Second)
		late := 0
		a.change(func(s *Sender) {
			s.set.config.OnBehind.Late = func() { late++ }
			s.shedding.last = time.Now().Add(-time.Second)
		})
		a.Play(300*ms, a.low.Next)
		a.step(a.at(0), allot.Congestion)
		require.Equal(t, "l", a.sender.feed.layer.Name())
		a.Play(time.Second)
		require.Zero(t, a.set.Stats().Shed)
		require.Zero(t, late)
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
		a.Play(allot.LossShows)
		require.True(t, loses())
	})
}
