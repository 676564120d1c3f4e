package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever comes is no reason to fall over, to say something that was not said,
// or to keep much.
func FuzzReceive(f *testing.F) {
	s := newSim(1)
	s.serveAll(1, 40)
	s.trace = func(string) {}
	id := s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	s.end[0].Want(s.now, id, []string{"h"})
	for range 5 {
		for _, c := range s.end {
			d := c.Datagram()
			if d != nil {
				f.Add(append([]byte(nil), d...), append([]byte(nil), d...))
				s.fly(0, d)
				s.fly(1, d)
			}
		}
		s.run(f, 50*time.Millisecond)
	}
	calling := callers(f, 1)
	calling.echo()
	calling.edit = func(_ int, d []byte) []byte {
		f.Add(append([]byte(nil), d...), append([]byte(nil), d...))
		return d
	}
	for i := range 3 {
		id, _ := calling.end[0].Call(calling.now, queryOf(1, 700*i, 900))
		if i == 2 {
			calling.end[0].Cancel(calling.now, id)
		}
	}
	calling.run(f, 300*time.Millisecond)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		c := New(epoch, Config{Hello: Hello{Min: 1, Max: 1}})
		now := epoch
		c.Subscribe(now, Subscribe{Stream: "live"})
		for range 3 {
			for _, d := range [][]byte{one, two} {
				now = now.Add(10 * time.Millisecond)
				before := c.state()
				if c.Receive(now, d) == errFrame { //nolint:errorlint // this one itself
					require.Equal(t, before, c.state())
				}
			}
			c.Advance(now)
			for n := 0; c.Datagram() != nil; n++ {
				require.Less(t, n, 300)
			}
			c.Call(now, []byte("?"))
			within(t, c)
		}
		inOrder(t, events(c))
		require.LessOrEqual(t, len(c.serves.early)+len(c.in.pending)+len(c.early), 2*window)
		require.LessOrEqual(t, c.held, maxHeld)
		require.GreaterOrEqual(t, c.held, 0)
	})
}

// inOrder asserts that events are such as can be of one that has asked for a
// single stream.
func inOrder(t *testing.T, es []Event) {
	asked, called, opened, ended := map[uint64]bool{}, map[uint64]bool{}, false, false
	for i, e := range es {
		_, opens := e.(Opened)
		_, closes := e.(Closed)
		require.True(t, opened || opens || closes, "nothing happens before the hello")
		switch e := e.(type) {
		case Opened:
			require.False(t, opened)
			opened = true
		case Asked:
			require.NotContains(t, asked, e.ID, "asked twice")
			asked[e.ID] = true
		case Wanted:
			require.True(t, asked[e.ID])
		case Left:
			require.True(t, asked[e.ID])
			asked[e.ID] = false
		case Called:
			require.NotContains(t, called, e.ID, "called twice")
			called[e.ID] = true
		case Cancelled:
			require.True(t, called[e.ID])
			called[e.ID] = false
		case Replied:
			require.Less(t, e.ID, uint64(3))
		case Accepted:
			require.Zero(t, e.ID)
			require.False(t, ended)
		case Ended:
			require.Zero(t, e.ID)
			require.False(t, ended)
			ended = true
		case Closed:
			require.Equal(t, len(es)-1, i, "nothing follows")
		}
	}
}
