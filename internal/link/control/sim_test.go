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
	edit    func(to int, d []byte) []byte // on the way; nil: lost
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
	if s.edit != nil {
		if d = s.edit(to, d); d == nil {
			return
		}
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
		if steps >= 10000 {
			require.Fail(t, "time stands still")
		}
		s.now = next
		for len(s.flying) > 0 && !s.flying[0].at.After(s.now) {
			f := s.flying[0]
			s.flying = s.flying[1:]
			if err := s.end[f.to].Receive(s.now, f.data); err != nil {
				require.NoError(t, err)
			}
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

// without returns a datagram without the parts that no says.
func without(d []byte, no func(part) bool) []byte {
	out := []byte{format}
	_ = frames(d, func(t frameType, body []byte) {
		if t == framePart {
			if p, _ := parsePart(body); no(p) {
				return
			}
		}
		out = appendFrame(out, t, body)
	})
	return out
}

// all returns what a Conn has to send, one slice for each datagram.
func all(c *Conn) (datagrams [][]byte) {
	for d := c.Datagram(); d != nil; d = c.Datagram() {
		datagrams = append(datagrams, slices.Clone(d))
	}
	return datagrams
}

func events(c *Conn) (es []Event) {
	for e, ok := c.Event(); ok; e, ok = c.Event() {
		es = append(es, e)
	}
	return es
}

// pair returns two that have opened, a round trip ago.
func pair(t testing.TB) *sim {
	s := newSim(1)
	s.run(t, 100*time.Millisecond)
	for i := range s.end {
		require.Len(t, of[Opened](s.events[i]), 1)
		s.events[i] = nil
	}
	return s
}
