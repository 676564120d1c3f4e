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
