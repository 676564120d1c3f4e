package cdn_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// chooser is a back whose sender can leave the layer out.
type chooser struct {
	back
	told []bool
}

func (c *chooser) SetActive(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, yes)
}

func (c *chooser) all() []bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

func newChosen(t *testing.T, n *cdn.Node) (*cdn.LayerInput, *cdn.Layer, *chooser) {
	s := newStream(t, n)
	in := newInput(t, s, cdn.InputConfig{}, vp8)
	c := &chooser{}
	li, err := in.Layer(0, "", c)
	require.NoError(t, err)
	return li, s.Tracks()[0].Layers()[0], c
}

// A sender is told at once that somebody wants a layer, and a while later that
// nobody does: at the beginning, too, and however many want it and leave.
func TestDemandIsToldToTheSender(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		_, l, c := newChosen(t, n)
		time.Sleep(1900 * time.Millisecond)
		require.Empty(t, c.all())
		time.Sleep(200 * time.Millisecond)
		require.Equal(t, []bool{false}, c.all())
		one, two := l.Demand(), l.Demand()
		synctest.Wait()
		require.Equal(t, []bool{false, true}, c.all())
		one()
		one()
		time.Sleep(5 * time.Second)
		require.Len(t, c.all(), 2, "there is another one")
		two()
		time.Sleep(1900 * time.Millisecond)
		three := l.Demand()
		time.Sleep(5 * time.Second)
		require.Len(t, c.all(), 2, "somebody came in time")
		three()
		time.Sleep(2100 * time.Millisecond)
		require.Equal(t, []bool{false, true, false}, c.all())
		require.Zero(t, l.Stats().Demand)
	})
}

// A layer that nobody wants has the bitrate that its sender tells, and its
// sender is not asked for keyframes until it is wanted again.
func TestADormantLayer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		li, l, c := newChosen(t, n)
		li.Write(time.Now(), frame(1, 1, true, 1), nil)
		time.Sleep(2100 * time.Millisecond)
		li.SetFacts(cdn.LayerFacts{Bitrate: 1e6})
		require.InDelta(t, 1e6, l.Bitrate(), 0)
		require.InDelta(t, 1e6, l.AdvertisedBitrate(), 0)
		require.Zero(t, l.Stats().Bitrate, "nothing comes")
		l.RequestKeyframe()
		time.Sleep(time.Second)
		asked, _ := c.counts()
		require.Zero(t, asked)
		defer l.Demand()()
		synctest.Wait()
		asked, _ = c.counts()
		require.Equal(t, 1, asked)
		require.InDelta(t, 1e6, l.Bitrate(), 0, "it is on its way")
		time.Sleep(2100 * time.Millisecond)
		require.Zero(t, l.Bitrate(), "it would have come")
	})
}

// Timestamps go on after a night in which nobody wanted the layer, in which they
// have wrapped.
func TestALayerThatWasAwayForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		li, l, _ := newChosen(t, n)
		li.Write(time.Now(), frame(1, 1000, true, 1), nil)
		before := l.Newest().Timestamp
		const away = 8 * time.Hour
		time.Sleep(away)
		ticks := uint64(away.Seconds() * 90000)
		li.Write(time.Now(), frame(2, uint32(1000+ticks), true, 2), nil)
		require.Equal(t, before+ticks, l.Newest().Timestamp)
	})
}
