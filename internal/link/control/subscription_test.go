package control

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever the two do, and whatever is lost, what they think in the end is the
// same.
func TestBothSidesAgree(t *testing.T) {
	for seed := range uint64(50) {
		s := newSim(seed)
		s.loss, s.jitter, s.double = 0.2, 60*time.Millisecond, 0.05
		s.watch = func(side int, e Event) {
			if a, ok := e.(Asked); ok {
				switch s.rng.IntN(3) {
				case 0:
					s.end[side].End(s.now, a.ID, Reason{Code: "not found"})
				default:
					s.end[side].Accept(s.now, a.ID, Subscribed{Tracks: make([]Track, 1+s.rng.IntN(40))})
				}
			}
		}
		for range 300 {
			c := s.end[s.rng.IntN(2)]
			switch s.rng.IntN(6) {
			case 0, 1:
				c.Subscribe(s.now, Subscribe{Stream: "x"})
			case 2:
				if c.nextID > 0 {
					c.Unsubscribe(s.now, s.rng.Uint64N(c.nextID))
				}
			case 3:
				if c.nextID > 0 {
					c.Want(s.now, s.rng.Uint64N(c.nextID), []string{fmt.Sprint(s.rng.IntN(9))})
				}
			case 4:
				c.End(s.now, s.rng.Uint64N(100), Reason{Code: "ended"})
			case 5:
				c.Accept(s.now, s.rng.Uint64N(100), Subscribed{Tracks: make([]Track, s.rng.IntN(40))})
			}
			s.run(t, time.Duration(s.rng.IntN(30))*time.Millisecond)
		}
		s.run(t, 20*time.Second)
		for i, c := range s.end {
			other := s.end[1-i]
			require.Len(t, other.serves.running, len(c.asks), "seed %d", seed)
			for id, a := range c.asks {
				require.Contains(t, other.serves.running, id)
				require.Equal(t, a.revision, other.serves.running[id].wanted)
				require.Equal(t, other.serves.running[id].revision, a.accepted)
			}
		}
		require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)))
	}
}

func TestOverLimit(t *testing.T) {
	s := newSim(1)
	s.end[1] = New(s.now, Config{Hello: Hello{Min: 1, Max: 1}, Subscriptions: 2})
	for range 3 {
		s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	}
	s.run(t, time.Second)
	require.Len(t, of[Asked](s.events[1]), 2)
	require.Equal(t, []Ended{{ID: 2, Reason: Reason{Code: "over limit"}}}, of[Ended](s.events[0]))
}

// permutations calls f with all orders of n things.
func permutations(n int, f func([]int)) {
	order := make([]int, 0, n)
	var place func()
	place = func() {
		if len(order) == n {
			f(order)
			return
		}
		for i := range n {
			if !slices.Contains(order, i) {
				order = append(order, i)
				place()
				order = order[:len(order)-1]
			}
		}
	}
	place()
}

// say has f say something, and returns it as a datagram.
func say(t *testing.T, c *Conn, f func()) []byte {
	f()
	d := all(c)
	require.Len(t, d, 1)
	return d[0]
}

// In whatever order messages come, and come again, what counts is what was said
// last.
func TestWishesInAnyOrder(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		permutations(4, func(order []int) {
			s := pair(t)
			a, b := s.end[0], s.end[1]
			said := [][]byte{
				say(t, a, func() { a.Subscribe(s.now, Subscribe{Stream: "live", Layers: []string{"h"}}) }),
				say(t, a, func() { a.Want(s.now, 0, []string{"m"}) }),
				say(t, a, func() { a.Want(s.now, 0, []string{"l"}) }),
				say(t, a, func() {
					if leaves {
						a.Unsubscribe(s.now, 0)
					} else {
						a.Want(s.now, 0, nil)
					}
				}),
			}
			for _, i := range append(slices.Clone(order), order...) {
				require.NoError(t, b.Receive(s.now, said[i]))
			}
			layers, state := []string{"?"}, "unknown"
			for _, e := range events(b) {
				switch e := e.(type) {
				case Asked:
					require.Equal(t, "unknown", state, order)
					state, layers = "asked", e.Subscribe.Layers
				case Wanted:
					require.Equal(t, "asked", state, order)
					layers = e.Layers
				case Left:
					require.Equal(t, "asked", state, order)
					state = "left"
				default:
					t.Fatal(e)
				}
			}
			require.Empty(t, b.serves.early)
			require.Zero(t, b.held)
			if leaves {
				require.Empty(t, b.serves.running)
				require.NotEqual(t, "asked", state, order)
				return
			}
			require.Equal(t, "asked", state)
			require.Nil(t, layers, "all")
		})
	}
}

func TestAnswersInAnyOrder(t *testing.T) {
	for _, ends := range []bool{false, true} {
		permutations(3, func(order []int) {
			s := pair(t)
			a, b := s.end[0], s.end[1]
			a.Subscribe(s.now, Subscribe{Stream: "live"})
			s.run(t, 30*time.Millisecond)
			said := [][]byte{
				say(t, b, func() { b.Accept(s.now, 0, Subscribed{Epoch: 1}) }),
				say(t, b, func() { b.Accept(s.now, 0, Subscribed{Epoch: 2}) }),
				say(t, b, func() {
					if ends {
						b.End(s.now, 0, Reason{Code: "ended"})
					} else {
						b.Accept(s.now, 0, Subscribed{Epoch: 3})
					}
				}),
			}
			for _, i := range append(slices.Clone(order), order...) {
				require.NoError(t, a.Receive(s.now, said[i]))
			}
			var epoch uint64
			ended := false
			for _, e := range events(a) {
				require.False(t, ended, "nothing follows the end")
				switch e := e.(type) {
				case Accepted:
					require.Greater(t, e.Subscribed.Epoch, epoch, order)
					epoch = e.Subscribed.Epoch
				case Ended:
					ended = true
				default:
					t.Fatal(e)
				}
			}
			require.Equal(t, ends, ended)
			if !ends {
				require.Equal(t, uint64(3), epoch)
			}
		})
	}
}

// Each side's ids are its own.
func TestBothSidesSubscribe(t *testing.T) {
	s := pair(t)
	s.watch = func(side int, e Event) {
		if a, ok := e.(Asked); ok {
			s.end[side].Accept(s.now, a.ID, Subscribed{Publication: fmt.Sprint(a.Subscribe.Stream, " of ", side)})
		}
	}
	for i, c := range s.end {
		require.Zero(t, c.Subscribe(s.now, Subscribe{Stream: fmt.Sprint("for ", i)}))
	}
	s.run(t, 60*time.Millisecond)
	s.end[0].Unsubscribe(s.now, 0)
	s.run(t, 60*time.Millisecond)
	require.Equal(t, []Event{Asked{Subscribe: Subscribe{Stream: "for 1"}}, Accepted{Subscribed: Subscribed{Publication: "for 0 of 1"}}}, s.events[0])
	require.Equal(t, []Event{Asked{Subscribe: Subscribe{Stream: "for 0"}}, Accepted{Subscribed: Subscribed{Publication: "for 1 of 0"}}, Left{}}, s.events[1])
	require.Equal(t, uint64(1), s.end[0].Subscribe(s.now, Subscribe{Stream: "for 0"}), "no id is used again")
}

// What cannot be said ends a subscription, not the connection, and not the next
// subscription.
func TestWhatCannotBeSaid(t *testing.T) {
	long := strings.Repeat("x", maxMessage)
	s := pair(t)
	a, b := s.end[0], s.end[1]
	id := a.Subscribe(s.now, Subscribe{Stream: long})
	ended := of[Ended](events(a))
	require.Len(t, ended, 1)
	require.Equal(t, id, ended[0].ID)
	require.Equal(t, "over limit", ended[0].Reason.Code)
	a.Want(s.now, id, nil)
	a.Unsubscribe(s.now, id)
	require.Empty(t, all(a))

	for _, tooMuch := range []Subscribed{{Publication: long}, {Tracks: []Track{{Layers: []Layer{{Bitrate: math.NaN()}}}}}} {
		id = a.Subscribe(s.now, Subscribe{Stream: "live"})
		require.Less(t, id, uint64(2))
		a.Want(s.now, id, []string{long})
		s.run(t, 30*time.Millisecond)
		b.Accept(s.now, id, tooMuch)
		s.run(t, 30*time.Millisecond)
		require.Equal(t, []Event{Asked{ID: id, Subscribe: Subscribe{Stream: "live"}}, Left{ID: id}}, s.events[1])
		require.Equal(t, "over limit", of[Ended](s.events[0])[0].Reason.Code)
		s.events = [2][]Event{}
	}

	a.Subscribe(s.now, Subscribe{Stream: "live"})
	s.run(t, 30*time.Millisecond)
	b.End(s.now, 2, Reason{Code: long, Text: long})
	s.run(t, 30*time.Millisecond)
	require.Len(t, of[Ended](s.events[0]), 1)
	b.Close(s.now, Reason{Code: long, Text: strings.Repeat("\x01", 5000)})
	s.run(t, 30*time.Millisecond)
	require.Len(t, of[Closed](s.events[0]), 1)
	require.LessOrEqual(t, s.longest, maxDatagram)
	require.Panics(t, func() { New(s.now, Config{Hello: Hello{Node: long}}) })
}

// A wish that cannot be read is refused, and those after it are not.
func TestAWishThatCannotBeRead(t *testing.T) {
	s := pair(t)
	for id := range uint64(3 * window) {
		body := any("what a later version may ask for")
		if id == 3*window-1 {
			body = Subscribe{Stream: "live"}
		}
		s.end[0].nextID++
		s.end[0].asks[id] = &ask{}
		require.NoError(t, s.end[0].say(s.now, message{kind: kindSubscribe, id: id, body: body}))
	}
	s.edit = func(to int, d []byte) []byte {
		if to == 0 {
			return d
		}
		if err := s.end[1].Receive(s.now, d); err != nil {
			require.ErrorIs(t, err, errMessage)
		}
		return nil
	}
	s.run(t, time.Second)
	require.Len(t, of[Ended](s.events[0]), 3*window-1)
	require.Equal(t, "invalid", of[Ended](s.events[0])[0].Reason.Code)
	require.Len(t, of[Asked](s.events[1]), 1)
}
