package control

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sim connects two Conns by a path in virtual time.
type sim struct {
	rng     *rand.Rand
	now     time.Time
	delay   time.Duration // one way
	jitter  time.Duration // more, at most
	loss    float64
	double  float64
	cut     bool // nothing passes
	end     [2]*Conn
	flying  []flight
	sent    int
	events  [2][]Event
	watch   func(side int, e Event)
	trace   func(string)
	longest int
}

type flight struct {
	at   time.Time
	to   int
	data []byte
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newSim(seed uint64) *sim {
	s := &sim{rng: rand.New(rand.NewPCG(seed, 1)), now: epoch, delay: 25 * time.Millisecond}
	for i, name := range []string{"a", "b"} {
		s.end[i] = New(s.now, Config{Hello: Hello{Min: 1, Max: 1, Node: name}})
	}
	return s
}

// pump sends what the ends have to say, and notes what they have heard.
func (s *sim) pump() {
	for i, c := range s.end {
		for d := c.Datagram(); d != nil; d = c.Datagram() {
			s.sent++
			s.longest = max(s.longest, len(d))
			if s.trace != nil {
				s.trace(fmt.Sprintf("%6.1f ms  %s> %s", float64(s.now.Sub(epoch))/1e6, string(rune('a'+i)), describe(d)))
			}
			s.fly(1-i, d)
			if s.rng.Float64() < s.double {
				s.fly(1-i, d)
			}
		}
		for e, ok := c.Event(); ok; e, ok = c.Event() {
			s.events[i] = append(s.events[i], e)
			if s.trace != nil {
				s.trace(fmt.Sprintf("%6.1f ms  %s: %T%+v", float64(s.now.Sub(epoch))/1e6, string(rune('a'+i)), e, e))
			}
			if s.watch != nil {
				s.watch(i, e)
			}
		}
	}
}

func (s *sim) fly(to int, d []byte) {
	if s.cut || s.rng.Float64() < s.loss {
		return
	}
	at := s.now.Add(s.delay)
	if s.jitter > 0 {
		at = at.Add(time.Duration(s.rng.Int64N(int64(s.jitter))))
	}
	f := flight{at: at, to: to, data: slices.Clone(d)}
	i := len(s.flying)
	for i > 0 && s.flying[i-1].at.After(at) {
		i--
	}
	s.flying = slices.Insert(s.flying, i, f)
}

// run lets time pass until then.
func (s *sim) run(t testing.TB, d time.Duration) {
	until := s.now.Add(d)
	for steps := 0; ; steps++ {
		s.pump()
		next := until
		if len(s.flying) > 0 {
			next = earlier(next, s.flying[0].at)
		}
		for _, c := range s.end {
			if at := c.Next(); !at.IsZero() {
				next = earlier(next, later(at, s.now))
			}
		}
		if next.After(s.now) {
			steps = 0
		}
		require.Less(t, steps, 10000, "time stands still")
		s.now = next
		for len(s.flying) > 0 && !s.flying[0].at.After(s.now) {
			f := s.flying[0]
			s.flying = s.flying[1:]
			require.NoError(t, s.end[f.to].Receive(s.now, f.data))
		}
		for _, c := range s.end {
			if at := c.Next(); !at.IsZero() && !at.After(s.now) {
				c.Advance(s.now)
			}
		}
		if !s.now.Before(until) {
			s.pump()
			return
		}
	}
}

func of[E Event](events []Event) (all []E) {
	for _, e := range events {
		if e, ok := e.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

// serveAll has side answer whatever it is asked for.
func (s *sim) serveAll(side int, tracks int) {
	s.watch = func(at int, e Event) {
		if a, ok := e.(Asked); ok && at == side {
			s.end[side].Accept(s.now, a.ID, Subscribed{Publication: a.Subscribe.Stream, Tracks: make([]Track, tracks)})
		}
	}
}

// A subscription needs one round trip, and the hello none of its own.
func TestSubscribeTakesOneRoundTrip(t *testing.T) {
	s := newSim(1)
	s.serveAll(1, 1)
	var took time.Duration
	serve := s.watch
	s.watch = func(side int, e Event) {
		serve(side, e)
		if _, ok := e.(Accepted); ok {
			took = s.now.Sub(epoch)
		}
	}
	s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	s.run(t, time.Second)
	require.Equal(t, 50*time.Millisecond, took)
	require.Equal(t, "b", of[Opened](s.events[0])[0].Hello.Node)
}

// With a fifth of all datagrams lost, jitter, reordering and doubles, everything
// arrives, and ends.
func TestUnderLoss(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(seed)
		s.loss, s.jitter, s.double = 0.2, 40*time.Millisecond, 0.1
		s.serveAll(1, 60) // some 6 KiB, which is cut into parts
		const streams = 200
		var ids []uint64
		for i := range streams {
			ids = append(ids, s.end[0].Subscribe(s.now, Subscribe{Stream: fmt.Sprint("live/", i)}))
		}
		s.run(t, 20*time.Second)
		accepted := of[Accepted](s.events[0])
		require.Len(t, accepted, streams)
		for _, a := range accepted {
			require.Len(t, a.Subscribed.Tracks, 60)
		}
		for i, id := range ids {
			if i%2 == 0 {
				s.end[0].Unsubscribe(s.now, id)
			} else {
				s.end[1].End(s.now, id, Reason{Code: "ended"})
			}
		}
		s.run(t, 20*time.Second)
		require.Len(t, of[Left](s.events[1]), streams/2)
		require.Len(t, of[Ended](s.events[0]), streams/2)
		for _, c := range s.end {
			require.Empty(t, c.asks)
			require.Empty(t, c.serves)
			require.Empty(t, c.pending)
			require.Empty(t, c.out.parts)
			require.Empty(t, c.in.pending)
		}
		require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)))
		require.LessOrEqual(t, s.longest, maxDatagram)
	}
}

// Whatever the two do, and whatever is lost, what they think in the end is the
// same.
func TestBothSidesAgree(t *testing.T) {
	for seed := range uint64(100) {
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
			switch s.rng.IntN(5) {
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
			}
			s.run(t, time.Duration(s.rng.IntN(30))*time.Millisecond)
		}
		s.run(t, 20*time.Second)
		for i, c := range s.end {
			other := s.end[1-i]
			require.Len(t, other.serves, len(c.asks), "seed %d", seed)
			for id, a := range c.asks {
				require.Contains(t, other.serves, id)
				require.Equal(t, a.revision, other.serves[id].wanted)
				require.Equal(t, other.serves[id].revision, a.accepted)
			}
		}
		require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)))
	}
}

// An hour on a path that loses 5 % each way and has 30 ms of jitter is no reason
// to give the other side up, whether media travels or not. An idle link is quiet.
func TestNoFalseAlarm(t *testing.T) {
	for _, carrying := range []bool{false, true} {
		for seed := range uint64(5) {
			s := newSim(seed)
			s.loss, s.jitter = 0.05, 30*time.Millisecond
			for _, c := range s.end {
				c.Carrying(s.now, carrying)
			}
			s.run(t, time.Hour)
			require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)), "carrying %v, seed %d", carrying, seed)
			rate := float64(s.sent) / time.Hour.Seconds()
			if carrying {
				require.Less(t, rate, 45.0, "datagrams a second, both ways")
			} else {
				require.Less(t, rate, 10.0, "datagrams a second, both ways")
			}
			require.InDelta(t, 0.0975, s.end[0].Stats().Loss, 0.12)
			require.InDelta(t, 80*time.Millisecond, s.end[0].Stats().RTT, float64(35*time.Millisecond))
		}
	}
}

// A death is noticed in time.
func TestDeathIsNoticed(t *testing.T) {
	for seed := range uint64(1000) {
		s := newSim(seed)
		s.loss, s.jitter = 0.05, 30*time.Millisecond
		carrying, limit := seed%2 == 0, 2*time.Second
		if carrying {
			limit = 500 * time.Millisecond
		}
		for _, c := range s.end {
			c.Carrying(s.now, carrying)
		}
		s.run(t, 2*time.Second+time.Duration(s.rng.IntN(3000))*time.Millisecond)
		s.cut = true
		// What is under way still comes.
		s.run(t, limit+s.delay+s.jitter)
		for i := range s.end {
			closed := of[Closed](s.events[i])
			require.Len(t, closed, 1, "seed %d", seed)
			require.ErrorIs(t, closed[0].Err, ErrPeerSilent)
			require.Zero(t, s.end[i].Next())
			require.Nil(t, s.end[i].Datagram())
		}
	}
}

// Ten thousand subscriptions leave nothing, and a side that nobody answers says
// little.
func TestNothingGrows(t *testing.T) {
	s := newSim(1)
	s.serveAll(1, 2)
	for range 10000 {
		id := s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
		s.run(t, 60*time.Millisecond)
		s.end[0].Unsubscribe(s.now, id)
		s.run(t, 10*time.Millisecond)
		s.events = [2][]Event{}
	}
	s.run(t, time.Second)
	for _, c := range s.end {
		require.Empty(t, c.asks)
		require.Empty(t, c.serves)
		require.Empty(t, c.pending)
		require.Empty(t, c.out.parts)
		require.LessOrEqual(t, cap(c.out.parts), 64)
	}
	s = newSim(2)
	s.cut = true
	for range 1000 {
		s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	}
	s.run(t, 2*time.Second)
	require.Less(t, s.sent, 300, "datagrams, to nobody")
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
			closed := of[Closed](s.events[1])[0]
			require.True(t, closed.Err != nil || closed.Reason.Code == "unsupported")
			require.Contains(t, fmt.Sprint(closed), fmt.Sprintf("%d to %d", tc.a[0], tc.a[1]))
		}
	}
}

// What a later version may say is passed over.
func TestUnknownIsPassedOver(t *testing.T) {
	c := New(epoch, Config{Hello: Hello{Min: 1, Max: 1}})
	other := New(epoch, Config{Hello: Hello{Min: 1, Max: 1}})
	other.say(epoch, message{kind: 77, id: 3, body: "new"})
	d := slices.Clone(other.Datagram())
	d = appendFrame(d, 99, []byte("newer still"))
	require.NoError(t, c.Receive(epoch, d))
	_, ok := c.Event()
	require.True(t, ok)
	_, ok = c.Event()
	require.False(t, ok)
}
