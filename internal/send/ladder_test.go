package send

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// second returns a second track of video, in the layers named.
func second(layers ...string) cdn.TrackInfo {
	t := sendtest.VP8(layers...)
	t.ID = "screen"
	return t
}

// full returns the rung with all of a layer.
func (a *adapting) full(layer int) allot.Rung {
	l := a.script.view.Ladder
	r := l[l.Find(allot.Rung{Mode: allot.Full, Layer: layer})]
	require.Equal(a, layer, r.Layer)
	require.Equal(a, allot.Full, r.Mode)
	return r
}

// A second track of which nothing ever comes does not keep a layer from being tried.
func TestATrackWithoutMediaIsNotTried(t *testing.T) {
	onTracks(t, sendtest.Config{Track: sendtest.VP8("l", "h"), Second: second()}, false, func(a *adapting) {
		a.step(a.at(0), allot.Congestion)
		a.Play(time.Second)
		require.Equal(t, "l", a.sender.feed.layer.Name())
		a.script.next.Probe = bwe.Probe{ID: 7, Rate: 400e3, Duration: 200 * ms}
		for range 60 {
			if !a.script.view.State.Probe.Done {
				a.Play(lookEvery)
			}
		}
		require.EqualValues(t, 7, a.script.view.State.Probe.ID)
		require.False(t, a.script.view.State.Probe.Unknown)
		require.Greater(t, a.script.view.State.Probe.Rate, a.full(1).Cost)
	})
}

// A track costs nothing while nothing comes of it, and once nothing has come for long. What
// it has been sent in stays.
func TestATrackWithoutMediaCostsNothing(t *testing.T) {
	var alone allot.Ladder
	onScript(t, true, func(a *adapting) { alone = a.script.view.Ladder })
	onTracks(t, sendtest.Config{Track: sendtest.VP8("l", "h"), Second: second("a", "b", "c")}, true, func(a *adapting) {
		require.Equal(t, alone, a.script.view.Ladder)
		a.Play(2 * holdCost)
		base := a.full(1).Cost // as measured
		for _, l := range a.Second {
			l.Obeys, l.Off, l.Filler = true, false, 200
			l.Skip()
		}
		a.Play(2 * time.Second)
		require.Greater(t, a.full(1).Cost, 1.5*base)
		a.step(a.at(2), allot.Room)
		for _, l := range a.Second {
			l.Off = true
		}
		a.Play(deadAfter / 2)
		require.Greater(t, a.full(1).Cost, 1.5*base, "it may come again")
		a.Play(deadAfter + holdCost)
		require.InEpsilon(t, base, a.full(1).Cost, 0.1)
		require.Equal(t, a.full(1).Cost, a.full(2).Cost)
		require.Equal(t, 2, a.set.adaptation.rung.Layer)
	})
}

// If there are other layers than before, a new policy begins with what it takes for the best,
// unless that is less than what the viewer has.
func TestANewPolicyTakesNothing(t *testing.T) {
	for name, lower := range map[string]bool{"less": true, "more": false} {
		t.Run(name, func(t *testing.T) {
			onScript(t, true, func(a *adapting) {
				first := a.at(2)
				if lower {
					first = a.at(0)
				}
				a.renewed = &script{next: allot.Choice{Rung: first, Reason: allot.Start}}
				in, err := a.Stream.NewInput(cdn.InputConfig{})
				require.NoError(t, err)
				require.NoError(t, in.Start([]cdn.TrackInfo{sendtest.VP8("l", "h", "x")}))
				_, err = in.Layer(0, "x", a.low)
				require.NoError(t, err)
				require.Len(t, a.Track.Layers(), 3)
				a.script.view = allot.View{}
				a.Play(2 * lookEvery)
				require.Equal(t, "h", a.sender.target().Name())
				require.Empty(t, a.changes)
				require.Equal(t, lower, a.set.adaptation.policy == a.script)
				require.Equal(t, lower, len(a.script.view.Ladder) > 0, "the old policy is asked")
			})
		})
	}
}

// onTemporal calls f with a viewer of one layer with three temporal layers, whose policy is a
// script.
func onTemporal(t *testing.T, f func(e *encoder, s *script)) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		e, s := &encoder{viewer: v, seq: 65500}, &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}
		v.add(Config{Policy: func() allot.Policy { return s }})
		v.set.Start()
		f(e, s)
	})
}

// play publishes frames at 30 a second. The first is a keyframe, and those that are asked for.
func (e *encoder) play(frames int) {
	asked := e.layer.Asked.Load()
	for range frames {
		now := e.layer.Asked.Load()
		f := e.encode(len(e.frames) == 0 || now != asked)
		asked = now
		for at := range f.packets {
			e.publish(f, at)
		}
		time.Sleep(33 * ms)
		e.serve()
	}
}

// take has the policy take a step, and returns what is sent of the frames that follow it.
func (e *encoder) take(s *script, to int, why allot.Reason, frames int) (places map[codec.Temporal]int, keyframes int) {
	s.next = allot.Choice{Rung: to, Reason: why}
	for s.next.Reason != allot.Stay {
		e.play(1)
	}
	from := len(e.Packets)
	e.play(frames)
	places = map[codec.Temporal]int{}
	for _, p := range e.Packets[from:] {
		if len(p.Payload) == 0 || p.Payload[0]&0x10 == 0 {
			continue
		}
		places[codec.TemporalFor("video/VP8")(p.Payload)]++
		if codec.For("video/VP8")(p.Payload).Keyframe {
			keyframes++
		}
	}
	return places, keyframes
}

// Between the lowest layer and the pause there are fewer temporal layers, and then keyframes
// only. Down, nothing is asked for; up from keyframes only, a keyframe is. Whatever is sent, a
// decoder takes.
func TestRungsBelowTheLowestLayer(t *testing.T) {
	onTemporal(t, func(e *encoder, s *script) {
		e.play(90)
		var modes []string
		for i, r := range s.view.Ladder {
			modes = append(modes, fmt.Sprint(r.Mode, r.Temporal))
			require.True(t, i < 3 || r.Cost > s.view.Ladder[i-1].Cost)
		}
		require.Equal(t, []string{"paused 0", "keyframes 0", "partial 0", "partial 1", "full 0"}, modes)

		asked := e.layer.Asked.Load()
		places, _ := e.take(s, 3, allot.Congestion, 80)
		require.Len(t, places, 3, "layer 0, and 1 with and without sync")
		require.Equal(t, allot.Partial, e.set.Stats().Path.Mode)
		require.Equal(t, 1, e.set.Stats().Path.Temporal)
		places, _ = e.take(s, 2, allot.Congestion, 80)
		require.Len(t, places, 1)
		require.InDelta(t, 20, places[codec.Temporal{}], 1)
		places, keys := e.take(s, 4, allot.Room, 80)
		require.Len(t, places, 5, "all, from the frames on that refer to the lowest layer alone")
		require.Zero(t, keys)
		require.Equal(t, asked, e.layer.Asked.Load())

		places, _ = e.take(s, 1, allot.Congestion, 80)
		require.Empty(t, places, "no keyframe comes")
		require.False(t, e.set.Stats().Paused)
		e.says(&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 1})
		e.play(30)
		require.Equal(t, asked, e.layer.Asked.Load(), "others would pay for it")
		places, keys = e.take(s, 2, allot.Room, 80)
		require.Len(t, places, 1)
		require.Equal(t, 1, keys)
		e.take(s, 0, allot.Congestion, 30)
		_, keys = e.take(s, 1, allot.Room, 80)
		require.Equal(t, 1, keys, "the one that is begun with")
		e.take(s, 4, allot.Room, 80)
		e.requireDecodable()
	})
}

// A viewer of fewer temporal layers keeps them though nothing comes for a while, and it is not
// known any more how many there are.
func TestARungStaysWhileNothingComes(t *testing.T) {
	onTemporal(t, func(e *encoder, s *script) {
		e.play(90)
		e.take(s, 2, allot.Congestion, 10)
		want := s.view.Ladder[2]
		time.Sleep(10 * time.Second)
		e.play(10)
		require.Equal(t, want.Mode, s.view.Ladder[s.view.Rung].Mode)
		require.Equal(t, want.Temporal, s.view.Ladder[s.view.Rung].Temporal)
	})
}

// Of a stream whose frames cannot be told apart, all is sent or nothing.
func TestAnOpaqueStreamHasNoSuchRungs(t *testing.T) {
	track := sendtest.VP8("l", "h")
	track.Codec.MimeType = "video/encrypted"
	withViewer(t, sendtest.Config{Track: track}, func(v *viewer) {
		s := &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}
		v.add(Config{Policy: func() allot.Policy { return s }})
		v.start()
		v.Play(6 * time.Second)
		require.True(t, v.layer.Layer.Facts().Opaque)
		require.Len(t, s.view.Ladder, 3)
		for _, r := range s.view.Ladder {
			require.Contains(t, []allot.Mode{allot.Paused, allot.Full}, r.Mode)
		}
	})
}

// A picture that is higher than the viewer's bound is not chosen, unless all are.
func TestMaxHeight(t *testing.T) {
	for most, want := range map[int]string{0: "h", 720: "h", 719: "l", 360: "l", 100: "l"} {
		withViewer(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(v *viewer) {
			low, high := v.Layers[0], v.Layers[1]
			low.Height, high.Height, high.Filler = 360, 720, 200
			low.Obeys, high.Obeys = true, true
			low.RequestKeyframe()
			high.RequestKeyframe()
			v.Play(2 * time.Second)
			c := Config{MaxHeight: most}
			l, err := c.Pick(v.Track)
			require.NoError(t, err)
			require.Equal(t, want, l.Name(), "at most %d", most)
			v.layer = high
			v.join(c)
			v.Play(2 * time.Second)
			require.Equal(t, want, v.sender.feed.layer.Name(), "at most %d", most)
		})
	}
}

// A layer that is low enough and does not come is no reason to send none.
func TestMaxHeightWithoutTheLowLayer(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(v *viewer) {
		high := v.Layers[1]
		v.Layers[0].Off, high.Height, high.Obeys = true, 720, true
		high.RequestKeyframe()
		v.Play(2 * time.Second)
		c := Config{MaxHeight: 360}
		l, err := c.Pick(v.Track)
		require.NoError(t, err)
		require.Equal(t, "h", l.Name())
		v.layer = high
		v.join(c)
		v.Play(2 * time.Second)
		require.Equal(t, "h", v.sender.feed.layer.Name())
		require.NotEmpty(t, v.Packets)
	})
}
