package control

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// callers returns two sides that answer calls, and have opened.
func callers(t testing.TB, seed uint64) *sim {
	s := newSim(seed)
	for i, name := range []string{"a", "b"} {
		s.end[i] = New(s.now, Config{Hello: Hello{Min: 1, Max: 1, Node: name, Features: []string{FeatureCalls}}})
	}
	s.run(t, 100*time.Millisecond)
	s.events = [2][]Event{}
	return s
}

// noise returns n bytes that are different for each seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, 0, n+8)
	for r := rand.New(rand.NewPCG(seed, 2)); len(b) < n; {
		b = binary.BigEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

// echo answers calls by their question and as many bytes as that says.
func (s *sim) echo() {
	s.watch = func(side int, e Event) {
		if q, ok := e.(Called); ok {
			n := int(binary.BigEndian.Uint32(q.Question))
			s.end[side].Reply(s.now, q.ID, append(slices.Clone(q.Question), noise(uint64(n), n)...))
		}
	}
}

func queryOf(seed uint64, size, answer int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(answer)), noise(seed, size)...)
}

// Whatever the path does, each call has its own answer, once, on both sides.
func TestCalls(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := callers(t, seed)
			s.loss, s.double, s.jitter = 0.2*float64(seed%4)/3, 0.1, 40*time.Millisecond
			s.echo()
			want := [2]map[uint64][]byte{{}, {}}
			for i := range 2 * maxCalls {
				side := i % 2
				q := queryOf(seed, s.rng.IntN(2*chunk), s.rng.IntN(2*chunk))
				id, ok := s.end[side].Call(s.now, q)
				require.True(t, ok)
				n := int(binary.BigEndian.Uint32(q))
				want[side][id] = append(q, noise(uint64(n), n)...)
			}
			s.run(t, 5*time.Minute)
			for side, all := range want {
				got := of[Replied](s.events[side])
				require.Empty(t, of[Closed](s.events[side]))
				require.Equal(t, len(all), len(got))
				for _, r := range got {
					require.False(t, r.Failed, r.Reason)
					require.True(t, bytes.Equal(all[r.ID], r.Answer))
					delete(all, r.ID)
				}
				require.Empty(t, all)
				c := &s.end[side].calls
				require.Empty(t, c.ours)
				require.Empty(t, c.theirs)
				require.Empty(t, c.queue)
				require.Zero(t, c.owed)
				require.Zero(t, s.end[side].out.bulk)
			}
		})
	}
}

// The longest question and the longest answer arrive; of longer ones, both sides are told.
func TestLongCalls(t *testing.T) {
	s := callers(t, 1)
	s.watch = func(side int, e Event) {
		if q, ok := e.(Called); ok {
			s.end[side].Reply(s.now, q.ID, noise(1, MaxReply+int(q.Question[0])))
		}
	}
	q := noise(1, MaxCall)
	for _, over := range []byte{0, 1} {
		q[0] = over
		_, ok := s.end[0].Call(s.now, q)
		require.True(t, ok)
		s.run(t, time.Minute)
	}
	r := of[Replied](s.events[0])
	require.Len(t, r, 2)
	require.Equal(t, noise(1, MaxReply), r[0].Answer)
	require.Equal(t, Replied{ID: 1, Failed: true, Reason: Reason{Code: overLimit}}, r[1])
	_, ok := s.end[0].Call(s.now, noise(1, MaxCall+1))
	require.False(t, ok)
}

// A side that has not said that it answers calls is never called: nothing is sent that
// an older version does not know.
func TestNobodyIsCalledWhoDoesNotAnswer(t *testing.T) {
	s := newSim(1)
	s.end[0] = New(s.now, Config{Hello: Hello{Min: 1, Max: 1, Node: "a", Features: []string{FeatureCalls}}})
	_, ok := s.end[0].Call(s.now, []byte("?"))
	require.False(t, ok, "the hello has not come")
	s.run(t, 100*time.Millisecond)
	_, ok = s.end[0].Call(s.now, []byte("?"))
	require.False(t, ok)
	require.False(t, s.end[0].Callable())
	s.edit = func(_ int, d []byte) []byte {
		require.Empty(t, calledIn(d))
		return d
	}
	s.run(t, time.Second)
}

// calledIn returns the kinds of messages about calls that begin in a datagram.
func calledIn(d []byte) (kinds []kind) {
	_ = frames(d, func(ft frameType, body []byte) {
		if p, err := parsePart(body); ft == framePart && err == nil && p.index == 0 {
			if m, _, err := parse(p.data); err == nil && m.kind >= kindCall {
				kinds = append(kinds, m.kind)
			}
		}
	})
	return kinds
}

// While answers of megabytes are on the way, a subscription takes no longer than
// otherwise, and a small call is answered among them.
func TestCallsHoldNothingUp(t *testing.T) {
	s := callers(t, 1)
	served := func(side int, e Event) {
		switch e := e.(type) {
		case Called:
			s.end[side].Reply(s.now, e.ID, noise(1, int(binary.BigEndian.Uint32(e.Question))))
		case Asked:
			s.end[side].Accept(s.now, e.ID, Subscribed{Publication: "it"})
		}
	}
	s.watch = served
	for range 3 {
		_, ok := s.end[0].Call(s.now, queryOf(1, 0, MaxReply))
		require.True(t, ok)
	}
	s.run(t, 200*time.Millisecond) // they are on the way
	require.NotZero(t, s.end[1].calls.owed)
	begun := s.now
	var accepted, answered time.Time
	s.watch = func(side int, e Event) {
		served(side, e)
		switch e.(type) {
		case Accepted:
			accepted = s.now
		case Replied:
			answered = s.now
		}
		require.LessOrEqual(t, s.end[1].out.flying, 2*chunk, "a few datagrams are on the way at a time")
	}
	s.end[0].Subscribe(s.now, Subscribe{Stream: "live"})
	_, ok := s.end[0].Call(s.now, queryOf(1, 0, 10))
	require.True(t, ok)
	for s.now.Before(begun.Add(time.Second)) && (accepted.IsZero() || answered.IsZero()) {
		s.run(t, time.Millisecond)
	}
	require.LessOrEqual(t, accepted.Sub(begun), 2*s.delay+time.Millisecond, "one round trip")
	require.LessOrEqual(t, answered.Sub(begun), 10*s.delay, "some round trips")
	require.NotZero(t, s.end[1].calls.owed, "while the others still are")
}

// A call that is cancelled costs no more, whenever that is.
func TestCancel(t *testing.T) {
	for _, after := range []time.Duration{0, 10, 30, 60, 80, 110, 300, 2000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			s := callers(t, 1)
			var asked, cancelled []uint64
			s.watch = func(side int, e Event) {
				switch e := e.(type) {
				case Called:
					asked = append(asked, e.ID)
					if e.Question[0] == 1 { // another is not answered at all
						s.end[side].Reply(s.now, e.ID, noise(1, 20*chunk))
					}
				case Cancelled:
					cancelled = append(cancelled, e.ID)
					s.end[side].Reply(s.now, e.ID, []byte("too late"))
				}
			}
			var ids []uint64
			for answered := range byte(2) {
				id, ok := s.end[0].Call(s.now, append([]byte{answered}, noise(1, 2*chunk)...))
				require.True(t, ok)
				ids = append(ids, id)
			}
			s.run(t, after*time.Millisecond)
			for _, id := range ids {
				s.end[0].Cancel(s.now, id)
				s.end[0].Cancel(s.now, id)
			}
			before := len(of[Replied](s.events[0]))
			s.run(t, time.Minute)
			require.Len(t, of[Replied](s.events[0]), before)
			require.Subset(t, asked, cancelled)
			require.NotContains(t, cancelled, ids[1], "it was answered at once")
			require.Equal(t, slices.Contains(asked, ids[0]), slices.Contains(cancelled, ids[0]))
			for _, c := range s.end {
				require.Empty(t, c.calls.ours)
				require.Empty(t, c.calls.theirs)
				require.Empty(t, c.calls.queue)
				require.Zero(t, c.calls.owed)
			}
			// And the next one is as good as ever.
			s.echo()
			_, ok := s.end[0].Call(s.now, queryOf(1, 10, 10))
			require.True(t, ok)
			s.run(t, time.Second)
			require.Len(t, of[Replied](s.events[0]), before+1)
		})
	}
}

// However often it is asked and cancelled, ids have no gaps that wedge what follows.
func TestManyCancelledCalls(t *testing.T) {
	s := callers(t, 1)
	s.echo()
	for range 50 {
		for range maxCalls {
			id, ok := s.end[0].Call(s.now, queryOf(1, 10, 10))
			if ok {
				s.end[0].Cancel(s.now, id)
			}
		}
		require.LessOrEqual(t, len(s.end[0].calls.queue), maxTurns+1)
		s.run(t, 100*time.Millisecond)
	}
	s.run(t, 10*time.Second)
	s.events = [2][]Event{}
	_, ok := s.end[0].Call(s.now, queryOf(1, 10, 10))
	require.True(t, ok)
	s.run(t, time.Second)
	require.Len(t, of[Replied](s.events[0]), 1)
}

func TestCallsAreBounded(t *testing.T) {
	s := callers(t, 1)
	for range maxCalls {
		_, ok := s.end[0].Call(s.now, []byte("?"))
		require.True(t, ok)
	}
	_, ok := s.end[0].Call(s.now, []byte("?"))
	require.False(t, ok)
	s.run(t, time.Second)
	require.Len(t, of[Called](s.events[1]), maxCalls)
	for _, q := range of[Called](s.events[1]) {
		s.end[1].Fail(s.now, q.ID, Reason{Code: "unsupported", Text: "no such thing"})
		s.end[1].Fail(s.now, q.ID, Reason{Code: "again"})
	}
	s.run(t, 10*time.Second)
	for _, r := range of[Replied](s.events[0]) {
		require.True(t, r.Failed)
		require.Equal(t, Reason{Code: "unsupported", Text: "no such thing"}, r.Reason)
	}
	require.Len(t, of[Replied](s.events[0]), maxCalls)
}

// A side that sends what it likes makes the other keep little.
func TestHostileCaller(t *testing.T) {
	for name, m := range map[string]func(i int) message{
		"many": func(i int) message {
			return message{kind: kindCall, id: uint64(i), body: raw(append([]byte{chunkLast}, noise(1, 1000)...))}
		},
		"many that do not end": func(i int) message {
			return message{kind: kindCall, id: uint64(i), body: raw(append([]byte{chunkMore}, noise(1, chunk)...))}
		},
		"one that does not end": func(i int) message {
			return message{kind: kindCall, revision: uint64(i), body: raw(append([]byte{chunkMore}, noise(1, chunk)...))}
		},
		"gaps": func(i int) message {
			return message{kind: kindCall, id: uint64(i) / 2, revision: uint64(i%2) * 7, body: raw{chunkMore}}
		},
		"answers to nothing": func(i int) message {
			return message{kind: kindReply, id: uint64(i), body: raw(append([]byte{chunkMore}, noise(1, chunk)...))}
		},
		"an answer that does not end": func(i int) message {
			return message{kind: kindReply, revision: uint64(i), body: raw(append([]byte{chunkMore}, noise(1, chunk)...))}
		},
		"cancellations": func(i int) message { return message{kind: kindCancel, id: uint64(i) * 3} },
		"nothing":       func(i int) message { return message{kind: kindCall, id: uint64(i)} },
		"no state":      func(i int) message { return message{kind: kindReply, id: uint64(i), body: raw{77}} },
		"failed":        func(i int) message { return message{kind: kindReply, id: uint64(i), body: raw("\x02{")} },
	} {
		t.Run(name, func(t *testing.T) {
			s := callers(t, 1)
			c := s.end[1]
			c.Call(s.now, []byte("?"))
			for i := range 800 {
				b, err := m(i).marshal()
				require.NoError(t, err)
				_ = c.message(b) // some are errors
				within(t, c)
			}
		})
	}
}

// within asserts that what a Conn keeps of calls is bounded.
func within(t testing.TB, c *Conn) {
	if err := overdrawn(c); err != nil { // asked in inner loops
		require.NoError(t, err)
	}
}

// overdrawn says what of a Conn's calls is more than it may keep.
func overdrawn(c *Conn) error {
	s := &c.calls
	owed := 0
	for _, q := range s.theirs {
		if len(q.data) > MaxCall {
			return fmt.Errorf("a call of %d bytes", len(q.data))
		}
	}
	for _, o := range s.queue {
		if o.kind == kindReply {
			owed += len(o.data)
		}
	}
	for _, q := range s.ours {
		if len(q.data) > MaxReply {
			return fmt.Errorf("a reply of %d bytes", len(q.data))
		}
	}
	switch {
	case owed != s.owed:
		return fmt.Errorf("%d bytes are owed, not %d", owed, s.owed)
	case owed > maxReplies:
		return fmt.Errorf("%d bytes are owed", owed)
	case len(s.theirs) > maxCalls, len(s.ours) > maxCalls:
		return fmt.Errorf("%d calls of theirs, %d of ours", len(s.theirs), len(s.ours))
	case len(s.queue) > 2*maxTurns+2*maxCalls:
		return fmt.Errorf("%d wait for their turn", len(s.queue))
	}
	return nil
}
