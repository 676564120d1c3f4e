package control

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The highest version that both speak counts; without one, both are told.
func TestVersions(t *testing.T) {
	for _, tc := range []struct {
		a, b [2]int
		want int // 0: none
	}{{[2]int{1, 1}, [2]int{1, 1}, 1}, {[2]int{1, 3}, [2]int{2, 5}, 3}, {[2]int{1, 2}, [2]int{3, 4}, 0}, {[2]int{3, 3}, [2]int{1, 2}, 0}} {
		s := newSim(1)
		s.end[0] = New(s.now, Config{Hello: Hello{Min: tc.a[0], Max: tc.a[1]}})
		s.end[1] = New(s.now, Config{Hello: Hello{Min: tc.b[0], Max: tc.b[1]}})
		s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
		s.run(t, time.Second)
		for i := range s.end {
			if tc.want > 0 {
				require.Equal(t, tc.want, of[Opened](s.events[i])[0].Version)
				continue
			}
			require.Empty(t, of[Opened](s.events[i]))
			require.Empty(t, of[Asked](s.events[i]), "nothing is done for one that is not understood")
			require.Len(t, of[Closed](s.events[i]), 1)
		}
		if tc.want == 0 {
			for i, both := range [][2][2]int{{tc.a, tc.b}, {tc.b, tc.a}} {
				closed := of[Closed](s.events[i])[0]
				require.ErrorIs(t, closed.Err, ErrVersion)
				require.ErrorContains(t, closed.Err, fmt.Sprintf("%d to %d here, %d to %d there", both[0][0], both[0][1], both[1][0], both[1][1]))
			}
		}
	}
}

// One that has not heard the other side's hello is told why by its goodbye.
func TestVersionsByTheGoodbye(t *testing.T) {
	a := New(epoch, Config{Hello: Hello{Min: 1, Max: 2}})
	b := New(epoch, Config{Hello: Hello{Min: 3, Max: 4}})
	require.NoError(t, b.Receive(epoch, all(a)[0]))
	goodbyes := all(b)
	require.Len(t, goodbyes, byeCopies)
	require.NoError(t, a.Receive(epoch, goodbyes[1]))
	closed := of[Closed](events(a))
	require.Len(t, closed, 1)
	require.ErrorIs(t, closed[0].Err, ErrVersion)
	require.ErrorContains(t, closed[0].Err, "1 to 2 here, 3 to 4 there")
}

// Both ends are told of a goodbye, and are then silent.
func TestGoodbye(t *testing.T) {
	s := pair(t)
	s.serveAll(1, 1)
	s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	s.run(t, 100*time.Millisecond)
	s.events = [2][]Event{}
	r := Reason{Code: "closed", Text: "for the night"}
	s.end[1].Close(s.now, r)
	s.end[1].Close(s.now, Reason{Code: "again"})
	s.run(t, 100*time.Millisecond)
	for i, c := range s.end {
		require.Equal(t, []Event{Closed{Reason: r}}, s.events[i])
		require.Zero(t, c.Next())
		id := c.Subscribe(s.now, Subscribe{Stream: "live"})
		c.Want(s.now, id, nil)
		c.Unsubscribe(s.now, id)
		c.Accept(s.now, 0, Subscribed{})
		c.End(s.now, 0, Reason{})
		c.Carrying(s.now, true)
		c.Alive(s.now)
		c.Advance(s.now.Add(time.Hour))
		require.NoError(t, c.Receive(s.now, []byte("whatever")))
		require.Empty(t, all(c))
		require.Empty(t, events(c))
	}
}

// What a later version may say is passed over.
func TestUnknownIsPassedOver(t *testing.T) {
	c := New(epoch, Config{Hello: Hello{Min: 1, Max: 1}})
	other := New(epoch, Config{Hello: Hello{Min: 1, Max: 1}})
	_ = other.say(epoch, message{kind: 77, id: 3, body: "new"})
	d := slices.Clone(other.Datagram())
	d = appendFrame(d, 99, []byte("newer still"))
	d = appendFrame(d, framePing, append(ping{id: 1, load: 2, loaded: true}.marshal(), "and more"...))
	d = appendFrame(d, framePart, part{seq: 2, count: 1, data: append([]byte{byte(kindSubscribe), 0, 0}, `{"stream":"live","new":{"deep":[1]}}`...)}.marshal())
	require.NoError(t, c.Receive(epoch, d))
	es := events(c)
	require.Len(t, es, 2)
	require.Equal(t, Asked{Subscribe: Subscribe{Stream: "live"}}, es[1])
}

// A message that comes before the hello waits for it.
func TestBeforeTheHello(t *testing.T) {
	s := newSim(1)
	a, b := s.end[0], s.end[1]
	d := say(t, a, func() { a.Subscribe(s.now, Subscribe{Stream: "live"}) })
	require.NoError(t, b.Receive(s.now, without(d, func(p part) bool { return p.seq == 0 })))
	require.Empty(t, events(b))
	require.NoError(t, b.Receive(s.now, d))
	require.Len(t, events(b), 2)
	require.Zero(t, b.held)
}
