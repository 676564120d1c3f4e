package send

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// A script is a policy that does what a test says.
type script struct {
	next  allot.Choice // once, if it has a reason or a probe
	stays int          // the rung else
	wants allot.Range
	view  allot.View
}

func (s *script) Choose(v allot.View) allot.Choice {
	s.view = v
	s.view.Ladder = append(allot.Ladder(nil), v.Ladder...)
	c := s.next
	s.next = allot.Choice{}
	switch {
	case c.Reason != allot.Stay:
		s.stays = c.Rung
	default:
		c.Rung = min(s.stays, len(v.Ladder)-1)
	}
	c.Wanted = s.wants
	return c
}

// An adapting is a viewer of two layers whose policy is a script.
type adapting struct {
	*viewer
	script    *script
	renewed   *script // in place of script, if the policy is made anew
	low, high *sendtest.Layer
	changes   []Change
}

func onScript(t *testing.T, rtx bool, f func(a *adapting)) {
	onTracks(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, rtx, f)
}

// onTracks is onScript with tracks of the test's own, the first of which has two layers.
func onTracks(t *testing.T, c sendtest.Config, rtx bool, f func(a *adapting)) {
	withViewer(t, c, func(v *viewer) {
		a := &adapting{viewer: v, script: &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}, low: v.Layers[0], high: v.Layers[1]}
		a.low.Obeys, a.high.Obeys, a.high.Filler = true, true, 200
		for _, l := range append(a.Layers, a.Second...) {
			l.Height = 360 // a keyframe without is none for sure
		}
		a.low.RequestKeyframe()
		a.high.RequestKeyframe()
		a.Tick = 4 * ms
		a.Play(time.Second)
		a.layer = a.high
		a.add(Config{
			Policy: func() allot.Policy {
				if p := a.renewed; p != nil {
					return p
				}
				return a.script
			},
			OnAdapt: func(c Change) { a.changes = append(a.changes, c); _ = a.set.Stats() }, // it may ask
		})
		if !rtx {
			a.sender.Bind(Output{To: v, SSRC: 1})
		}
		for i, l := range a.Second[:min(1, len(a.Second))] {
			a.set.Add(&Line{Track: l.Layer.Track(), PT: 98}, l.Layer, "").Bind(Output{To: v, SSRC: uint32(3 + i)})
		}
		a.start()
		a.Play(2 * time.Second)
		require.Equal(t, "h", a.sender.feed.layer.Name())
		require.Equal(t, live, a.sender.mode)
		require.Empty(t, a.changes)
		f(a)
	})
}

// at returns the index of the rung with all of a layer, which it may have yet to get. Ahead of
// these there are no video, and keyframes only.
func (a *adapting) at(layer int) int { return layer + 2 }

// step has the policy take a step, and forgets what was sent ahead of that.
func (a *adapting) step(to int, why allot.Reason) {
	a.script.next = allot.Choice{Rung: to, Reason: why}
	a.Play(lookEvery + 30*ms)
	require.Zero(a, a.script.next)
}

// A step down is taken at once: the present layer ends, and the next begins with its
// keyframe. What was sent before is not repaired any more. A step up goes on with the
// present layer until then.
func TestStepsAreTaken(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		a.low.Obeys = false
		old := a.last()
		a.step(a.at(0), allot.Congestion)
		require.Equal(t, []Change{{Layer: "l", Mode: allot.Full, Lower: true, Reason: allot.Congestion, Estimate: a.changes[0].Estimate}}, a.changes)
		count := len(a.Packets)
		a.Play(500 * ms)
		require.Len(t, a.Packets, count, "neither layer is sent")
		a.says(nack(old.SequenceNumber, 0))
		require.Len(t, a.Packets, count, "nor repaired")
		a.low.Obeys = true
		a.Play(time.Second)
		require.Equal(t, "l", a.sender.feed.layer.Name())
		require.Equal(t, a.Packets[count-1].SequenceNumber+1, a.Packets[count].SequenceNumber)
		a.says(nack(a.Packets[count].SequenceNumber, 0))
		require.EqualValues(t, 2, a.last().SSRC, "the new layer is repaired")

		a.high.Obeys = false
		a.step(a.at(1), allot.Room)
		count = len(a.Packets)
		a.Play(500 * ms)
		require.Greater(t, len(a.Packets), count+10, "the low layer goes on")
		require.Equal(t, "l", a.sender.feed.layer.Name())
		a.high.Obeys = true
		a.Play(time.Second)
		require.Equal(t, "h", a.sender.feed.layer.Name())
		require.Len(t, a.changes, 2)
		require.False(t, a.changes[1].Lower)
	})
}

// It is told when as much is sent again as before the first of several steps down, though
// there is a better layer.
func TestARestoredLayerIsTold(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		a.step(a.at(0), allot.Limited) // nothing was the path's fault so far
		for _, next := range []allot.Choice{
			{Rung: 1, Reason: allot.Congestion}, {Rung: 0, Reason: allot.Congestion}, {Rung: 1, Reason: allot.Room}, {Rung: a.at(0), Reason: allot.Room}, {Rung: a.at(1), Reason: allot.Limited},
		} {
			a.step(next.Rung, next.Reason)
			a.Play(time.Second)
		}
		var restored []bool
		for _, c := range a.changes {
			restored = append(restored, c.Restored)
		}
		require.Equal(t, []bool{true, false, false, false, true, true}, restored)
	})
}

// Video that is paused stays so, whatever keyframes come and whoever asks for them, until
// the policy says otherwise. Then it begins with a keyframe.
func TestVideoIsPausedAndGoesOn(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		a.step(0, allot.Loss)
		require.Equal(t, allot.Paused, a.changes[0].Mode)
		count, asked := len(a.Packets), a.high.Asked.Load()
		a.high.KeyEvery = 30
		for range 5 {
			a.says(&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 1})
			require.NoError(t, a.set.SetLayer("h"))
			a.set.BoundChanged()
			a.Play(time.Second)
		}
		require.Len(t, a.Packets, count)
		require.Equal(t, asked, a.high.Asked.Load())
		require.True(t, a.set.Stats().Paused)
		a.high.KeyEvery = 0
		a.step(a.at(0), allot.Room)
		a.Play(200 * ms)
		require.Equal(t, "l", a.sender.feed.layer.Name())
		require.EqualValues(t, 0, a.Packets[count].Payload[1]&1, "a keyframe")
		a.requireNoGap()
		a.step(a.at(1), allot.Room)
		a.Play(200 * ms)
		require.Equal(t, "h", a.sender.feed.layer.Name())
	})
}

// A bound or a layer that changes is the policy's to know at once, though it would not be asked for
// a second.
func TestAChangeOfBoundsDoesNotWait(t *testing.T) {
	for name, change := range map[string]func(a *adapting){
		"bound": func(a *adapting) { a.set.BoundChanged() },
		"layer": func(a *adapting) { require.NoError(a, a.set.SetLayer("h")) },
	} {
		t.Run(name, func(t *testing.T) {
			onScript(t, true, func(a *adapting) {
				a.script.next = allot.Choice{Rung: a.at(0), Reason: allot.Congestion, Doze: true}
				a.Play(lookEvery + 30*ms)
				require.True(t, a.set.adaptation.dozing)
				a.script.view = allot.View{}
				a.Play(lookEvery + 30*ms)
				require.Empty(t, a.script.view.Ladder)
				change(a)
				a.Play(20 * ms)
				require.NotEmpty(t, a.script.view.Ladder)
			})
		})
	}
}

// A probe repeats packets on the RTX stream until media and padding have its rate, and
// ends with a sender report. That is so while video is paused, too, or no keyframe comes of
// those that are sent alone, however long that is.
func TestProbesRepeatPackets(t *testing.T) {
	for name, rung := range map[string]int{"playing": 99, "paused": 0, "keyframes only": 1} {
		t.Run(name, func(t *testing.T) {
			onScript(t, true, func(a *adapting) {
				if rung < 99 {
					a.step(rung, allot.Congestion)
					a.Play(20 * time.Second)
				}
				before, count, clocks := a.set.wireBytes(), len(a.Packets), len(a.clocks)
				a.script.next.Probe = bwe.Probe{ID: 1, Rate: 400e3, Duration: 200 * ms}
				a.Play(lookEvery + 250*ms)
				padding := 0
				for _, p := range a.Packets[count:] {
					if p.SSRC == 2 {
						padding++
						require.EqualValues(t, 97, p.PayloadType)
					}
				}
				require.Greater(t, padding, 25)
				require.InEpsilon(t, 400e3*0.2/8, float64(a.set.wireBytes()-before), 0.15)
				require.Greater(t, len(a.clocks), clocks, "its round trip is measured")
				a.says(nack(a.Packets[count-1].SequenceNumber, 0)) // padding has taken nothing from repairs
				a.Play(time.Second)
				more := 0
				for _, p := range a.Packets[count+padding:] {
					if p.SSRC == 2 {
						more++
					}
				}
				require.LessOrEqual(t, more, padding/2)
			})
		})
	}
}

// A probe that the viewer's own estimate speaks against, since it has fallen, ends at once.
func TestAProbeEndsWithItsAnswer(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		estimate := func(rate float32) {
			a.says(&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 9, Bitrate: rate, SSRCs: []uint32{1}})
		}
		a.set.path.estimator.Doze() // so no transport-wide feedback is awaited
		estimate(2e6)
		count := len(a.Packets)
		padding := func() (n int) {
			for _, p := range a.Packets[count:] {
				if p.SSRC == 2 {
					n++
				}
			}
			return n
		}
		a.script.next.Probe = bwe.Probe{ID: 1, Rate: 400e3, Duration: 2 * time.Second}
		a.Play(lookEvery + 250*ms)
		estimate(2.1e6)
		a.Play(50 * ms)
		before := padding()
		require.Greater(t, before, 20)
		require.NotZero(t, a.set.adaptation.probe.plan)
		estimate(1e6)
		a.Play(500 * ms)
		require.LessOrEqual(t, padding(), before+2)
		require.True(t, a.script.view.State.Probe.Done)
		require.Zero(t, a.script.view.State.Probe.Rate)
	})
}

// A viewer that dozes, and whose own estimate falls, is sent a sender report at once.
func TestRoundTripIsMeasuredAtOnce(t *testing.T) {
	for _, dozes := range []bool{true, false} {
		onScript(t, true, func(a *adapting) {
			says := func(rate float32) {
				a.set.adaptation.dozing = dozes
				a.says(&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 9, Bitrate: rate, SSRCs: []uint32{1}})
			}
			// The last regular report was sent less than half a second ago.
			for n := len(a.clocks); len(a.clocks) == n; {
				a.Play(20 * ms)
			}
			clocks := len(a.clocks)
			a.set.path.estimator = bwe.New(bwe.Config{ReceiverEstimate: true}, time.Now())
			says(2e6)
			a.Play(300 * ms)
			require.Len(t, a.clocks, clocks)
			says(1e4)
			a.Play(100 * ms)
			require.Equal(t, dozes, len(a.clocks) > clocks)
		})
	}
}

// Without RTX the next layer is tried: if nothing speaks against it for a while, that is
// the answer to the probe.
func TestWithoutRTXALayerIsTried(t *testing.T) {
	for name, refused := range map[string]bool{"taken": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			onScript(t, false, func(a *adapting) {
				a.step(a.at(0), allot.Congestion)
				a.Play(time.Second)
				require.Equal(t, "l", a.sender.feed.layer.Name())
				a.script.next.Probe = bwe.Probe{ID: 7, Rate: 400e3, Duration: 200 * ms}
				a.Play(time.Second)
				require.Equal(t, "h", a.sender.feed.layer.Name())
				require.False(t, a.script.view.State.Probe.Done)
				require.Equal(t, a.script.view.Ladder.Find(allot.Rung{Mode: allot.Full}), a.script.view.Rung)
				if refused {
					a.step(0, allot.Congestion)
					require.True(t, a.set.Stats().Paused)
					require.Equal(t, noVideo, a.sender.stopped.halted)
					return
				} else {
					for range 40 {
						if !a.script.view.State.Probe.Done {
							a.Play(lookEvery)
						}
					}
					require.EqualValues(t, 7, a.script.view.State.Probe.ID)
					require.Greater(t, a.script.view.State.Probe.Rate, a.full(1).Cost)
				}
				a.Play(time.Second)
				require.Equal(t, "l", a.sender.feed.layer.Name(), "the policy has not gone up")
			})
		})
	}
}

// A probe ends at once when the policy does not want any more what it is for.
func TestWhatIsNotWantedIsNotTried(t *testing.T) {
	for name, c := range map[string]struct {
		rtx  bool
		from int // l: 2
		want allot.Range
		ends bool
	}{
		"a trial of more":          {false, 2, allot.Range{Least: 1, Most: 2}, true},
		"a trial of what is least": {false, 1, allot.Range{Least: 3, Most: 3}, true},
		"a trial while nothing is": {false, 0, allot.Range{Least: 1}, true},
		"a trial of the most":      {false, 2, allot.Range{Least: 1, Most: 3}, false},
		"a trial of all":           {false, 2, allot.Range{}, false},
		"padding for more":         {true, 2, allot.Range{Least: 1, Most: 2}, true},
		"padding for far more":     {true, 1, allot.Range{Least: 1, Most: 2}, true},
		"padding for the most":     {true, 2, allot.Range{Least: 1, Most: 3}, false},
		"padding for all":          {true, 2, allot.Range{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			onScript(t, c.rtx, func(a *adapting) {
				a.step(c.from, allot.Congestion)
				a.Play(3 * time.Second)
				a.script.next.Probe = bwe.Probe{ID: 7, Rate: 1.3 * a.full(1).Cost, Duration: 3 * time.Second}
				a.Play(600 * ms)
				under := func() bool {
					p := &a.set.adaptation.probe
					return p.plan.Rate > 0 || p.trial != nil && same(a.set.adaptation.sent, p.trial.rung)
				}
				require.True(t, under())
				a.script.wants = c.want
				a.Play(lookEvery + 30*ms)
				require.Equal(t, !c.ends, under())
				if c.ends {
					require.True(t, same(a.script.view.Ladder[c.from], a.set.adaptation.sent))
				}
			})
		})
	}
}

// A policy of the user's that chooses what there is not does no harm.
func TestPoliciesMayBeWrong(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		for _, c := range []allot.Choice{
			{Rung: 99, Reason: allot.Room},
			{Rung: -5, Reason: allot.Loss},
			{Rung: 99, Reason: allot.Room, Probe: bwe.Probe{Rate: -1, Duration: -1}},
			{Rung: 99, Reason: allot.Room, Doze: true, Probe: bwe.Probe{ID: 1, Rate: 1e6}},
		} {
			a.script.next = c
			a.Play(time.Second)
		}
		require.Equal(t, "h", a.sender.feed.layer.Name())
	})
}

// While no estimate is needed, what is kept for it is little.
func TestDozes(t *testing.T) {
	onScript(t, true, func(a *adapting) {
		a.script.next.Doze = true
		a.Play(lookEvery)
		require.True(t, a.set.Stats().Path.Dozing)
		require.Nil(t, a.set.adaptation.awake)
	})
}

// always is a policy that has the best layer sent whatever happens.
type always struct{ chosen bool }

func (b *always) Choose(v allot.View) allot.Choice {
	c := allot.Choice{Rung: len(v.Ladder) - 1}
	if !b.chosen {
		b.chosen, c.Reason = true, allot.Start
	}
	return c
}

// What a layer has cost counts for a while, though it costs less now.
func TestCostsAreHeld(t *testing.T) {
	var h heldCost
	now := time.Unix(1_800_000_000, 0)
	require.EqualValues(t, 100, h.hold(now, 100))
	require.EqualValues(t, 300, h.hold(now.Add(time.Second), 300))
	require.EqualValues(t, 300, h.hold(now.Add(5*time.Second), 100))
	require.EqualValues(t, 120, h.hold(now.Add(7*time.Second), 120))
	require.EqualValues(t, 120, h.hold(now.Add(8*time.Second), 90))
}
