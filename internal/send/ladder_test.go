package send

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
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
