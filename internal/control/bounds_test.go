package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Messages that never come whole are not kept for ever.
func TestPartsThatNeverComeWhole(t *testing.T) {
	now := time.Now()
	c := New(now, Config{})
	for seq := uint64(0); seq < 100_000; seq++ {
		d := appendFrame([]byte{format}, framePart, part{seq: seq, index: 0, count: 64, data: make([]byte, 1000)}.marshal())
		require.NoError(t, c.Receive(now, d))
	}
	require.LessOrEqual(t, len(c.in.pending), window)
}

// A message that is longer than may be said is refused where it is made, or
// arrives: it may not stop all others.
func TestALongMessageStopsTheOthers(t *testing.T) {
	now := time.Now()
	a, b := New(now, Config{}), New(now, Config{})
	long := make([]byte, 70<<10)
	for i := range long {
		long[i] = 'x'
	}
	a.Subscribe(now, Subscribe{Stream: string(long)})
	for i := 0; i < 1000; i++ {
		a.Subscribe(now, Subscribe{Stream: "s"})
	}
	asked := 0
	for range 3000 {
		now = now.Add(10 * time.Millisecond)
		a.Advance(now)
		for d := a.Datagram(); d != nil; d = a.Datagram() {
			_ = b.Receive(now, d)
		}
		b.Advance(now)
		for d := b.Datagram(); d != nil; d = b.Datagram() {
			_ = a.Receive(now, d)
		}
		for e, ok := b.Event(); ok; e, ok = b.Event() {
			if _, ok := e.(Asked); ok {
				asked++
			}
		}
	}
	require.GreaterOrEqual(t, asked, 1000, "in half a minute without loss")
}
