package reception

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBlock(t *testing.T) {
	now := time.Unix(1000, 0)
	c := &Counter{}
	_, ok := c.Block(now, 1)
	require.False(t, ok, "nothing has arrived")
	for n, seq := range []uint16{65534, 65535, 0, 2, 3} { // 1 is lost
		c.Received(now.Add(time.Duration(n)*20*time.Millisecond), seq, uint32(n)*960, 48000)
	}
	c.SenderReport(now, 0x0001_2345_6789_abcd)
	b, ok := c.Block(now.Add(500*time.Millisecond), 7)
	require.True(t, ok)
	require.EqualValues(t, 7, b.SSRC)
	require.EqualValues(t, 1<<16|3, b.LastSequenceNumber, "one rollover")
	require.EqualValues(t, 1, b.TotalLost)
	require.EqualValues(t, 256/6, b.FractionLost)
	require.Zero(t, b.Jitter, "each packet came in time")
	require.EqualValues(t, 0x2345_6789, b.LastSenderReport)
	require.EqualValues(t, 65536/2, b.Delay)
	c.Received(now, 1, 9600, 48000) // late
	b, _ = c.Block(now, 7)
	require.Zero(t, b.TotalLost)
	require.Zero(t, b.FractionLost)
	require.NotZero(t, b.Jitter)
	require.True(t, c.IsNewest(3))
	require.True(t, c.IsNear(10, 8))
	require.False(t, c.IsNear(11, 8))
}

// A sender that is reset goes on with other numbers, of which neither loss nor lateness
// follows: reports would have it send less, and what is sent again would not be found.
func TestReset(t *testing.T) {
	for name, jump := range map[string]uint16{"ahead": 20_000, "back": 1<<16 - 20_000, "around": 1 << 15} {
		t.Run(name, func(t *testing.T) {
			c, now := &Counter{}, time.Unix(1000, 0)
			ts := uint32(0)
			next := func(seq uint16) {
				now, ts = now.Add(20*time.Millisecond), ts+960
				c.Received(now, seq, ts, 48000)
			}
			for seq := range uint16(50) {
				next(40_000 + seq)
			}
			from := 40_050 + jump
			ts += 1 << 31
			for seq := range uint16(50) {
				if seq != 10 {
					next(from + seq)
				}
			}
			require.True(t, c.IsNewest(from+49))
			require.True(t, c.IsNear(from+10, 100))
			b, _ := c.Block(now, 1)
			require.EqualValues(t, from+49, uint16(b.LastSequenceNumber))
			require.EqualValues(t, 1, b.TotalLost)
			require.EqualValues(t, 256/99, b.FractionLost)
			require.Zero(t, b.Jitter)
			expected, received := c.Totals()
			require.EqualValues(t, 99, expected) // the first one of the new numbering shows nothing yet
			require.EqualValues(t, 98, received)
		})
	}
}

// A packet that strays is none of the stream, and what comes late or again is.
func TestStraysAreNoReset(t *testing.T) {
	c, now := &Counter{}, time.Unix(1000, 0)
	for i := range uint16(1000) {
		if i%100 != 50 {
			c.Received(now, i, uint32(i)*960, 48000)
		}
		if i%200 == 0 {
			c.Received(now, i+30_000, 0, 48000)
		}
	}
	for i := range uint16(10) {
		c.Received(now, i*100+50, 0, 48000)
	}
	require.True(t, c.IsNewest(999))
	expected, received := c.Totals()
	require.Equal(t, []uint64{1000, 1000}, []uint64{expected, received})
}
