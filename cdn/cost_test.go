package cdn_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

const headers = 20 + 8 + 12 + 16

// A costing is a layer of VP8 with two temporal layers, and who writes it.
type costing struct {
	*testing.T
	input *cdn.LayerInput
	layer *cdn.Layer
	seq   uint16
	ts    uint32
}

func newCosting(t *testing.T, n *cdn.Node, c cdn.InputConfig) *costing {
	s := newStream(t, n)
	li, _ := newLayer(t, newInput(t, s, c, vp8), 0)
	return &costing{T: t, input: li, layer: s.Tracks()[0].Layers()[0]}
}

// frames writes frames of the sizes given in turn, of layers 0 and 1, one each interval.
// What is between their timestamps is 1/50 s.
func (c *costing) frames(n int, interval time.Duration, sizes ...int) {
	for i := range n {
		payload := make([]byte, sizes[i%len(sizes)]-headers)
		copy(payload, []byte{0x90, 0x20, byte(i%len(sizes)) << 6, 0x11})
		if c.seq == 0 {
			copy(payload, []byte{0x90, 0x20, 0, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1}) // 640x360
		}
		c.input.Write(time.Now(), &rtp.Packet{Header: rtp.Header{SequenceNumber: c.seq, Timestamp: c.ts, Marker: true}, Payload: payload}, nil)
		c.seq++
		c.ts += 1800
		time.Sleep(interval)
	}
}

func TestCost(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		c := newCosting(t, n, cdn.InputConfig{})
		require.Zero(t, c.layer.Cost())
		c.frames(400, 20*time.Millisecond, 1000, 500)
		cost := c.layer.Cost()
		require.InDelta(t, 300e3, cost.Bitrate, 5e3)
		require.Len(t, cost.Temporal, 2)
		require.InDelta(t, 200e3, cost.Temporal[0], 5e3)
		require.Equal(t, cost.Bitrate, cost.Temporal[1])
		require.Equal(t, 360, cost.Height)
		require.Equal(t, cost, c.layer.Stats().Cost)

		c.frames(50, 20*time.Millisecond, 2000, 500) // for a second it is more
		c.frames(200, 20*time.Millisecond, 1000, 500)
		require.InDelta(t, 500e3, c.layer.Cost().Bitrate, 10e3, "the most of five seconds")
		c.frames(200, 20*time.Millisecond, 1000, 500)
		require.InDelta(t, 300e3, c.layer.Cost().Bitrate, 10e3)
		require.Zero(t, testing.AllocsPerRun(10, func() { _ = c.layer.Cost() }))

		time.Sleep(3 * time.Second)
		require.Equal(t, cdn.LayerCost{Height: 360}, c.layer.Cost(), "nothing comes")
	})
}

// A node that catches up gets media faster than they are sent on. Until it has measured them
// for long enough, what the other node says counts.
func TestCostOfWhatCatchesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		c := newCosting(t, n, cdn.InputConfig{Path: []cdn.NodeID{"origin"}})
		c.input.SetFacts(cdn.LayerFacts{Cost: cdn.LayerCost{Bitrate: 400e3, Temporal: []float64{250e3, 400e3}, Height: 720}})
		require.Zero(t, c.layer.Cost(), "nothing comes yet")
		c.frames(100, 20*time.Millisecond/8, 1000, 500)
		require.Equal(t, cdn.LayerCost{Bitrate: 400e3, Temporal: []float64{250e3, 400e3}, Height: 360, Keyframe: 1000}, c.layer.Cost())
		c.frames(300, 20*time.Millisecond/8, 1000, 500)
		require.InDelta(t, 300e3, c.layer.Cost().Bitrate, 5e3)
		c.frames(300, 20*time.Millisecond, 1000, 500)
		require.InDelta(t, 300e3, c.layer.Cost().Bitrate, 5e3)
	})
}

// The size of a keyframe is that of all its packets, and the larger of the last two counts.
func TestCostOfAKeyframe(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		c := newCosting(t, n, cdn.InputConfig{})
		keyframe := func(sizes ...int) {
			for i, size := range sizes {
				payload := make([]byte, size-headers)
				copy(payload, []byte{0x80, 0x20, 0, 0x11})
				if i == 0 {
					copy(payload, []byte{0x90, 0x20, 0, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1})
				}
				c.input.Write(time.Now(), &rtp.Packet{Header: rtp.Header{SequenceNumber: c.seq, Timestamp: c.ts, Marker: i == len(sizes)-1}, Payload: payload}, nil)
				c.seq++
			}
			c.ts += 1800
		}
		for _, step := range []struct {
			sizes []int
			want  int
		}{{[]int{1200, 1200, 600}, 3000}, {[]int{1200, 700}, 3000}, {[]int{500}, 1900}, {[]int{400}, 500}} {
			keyframe(step.sizes...)
			c.frames(20, 20*time.Millisecond, 1000, 500)
			require.Equal(t, step.want, c.layer.Cost().Keyframe)
		}
	})
}

// Of a layer that nobody wants the other node tells the cost. One that does not know costs is
// an older one, which tells the bitrate.
func TestCostOfALayerThatDoesNotCome(t *testing.T) {
	inBubble(t, func(t *testing.T, n *cdn.Node) {
		li, layer, _ := newChosen(t, n)
		li.SetFacts(cdn.LayerFacts{Bitrate: 1e6})
		require.InDelta(t, 1.3e6, layer.Cost().Bitrate, 1)
		told := cdn.LayerCost{Bitrate: 1.5e6, Temporal: []float64{1e6, 1.5e6}, Height: 1080}
		li.SetFacts(cdn.LayerFacts{Bitrate: 1e6, Cost: told})
		require.Equal(t, told, layer.Cost())
		require.Equal(t, told, layer.Facts().Cost, "it is told on")
	})
}
