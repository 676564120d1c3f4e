package seqnum

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	ms        = time.Millisecond
	videoRate = 90000
)

// A sender is one whose numbers and timestamps a test resets.
type sender struct {
	*testing.T
	line *Line
	now  time.Time
	seq  uint16
	ts   uint32
	last uint64 // extended number
	time uint64 // extended timestamp
}

func newSender(t *testing.T, c LineConfig) *sender {
	if c.Rate == 0 {
		c = LineConfig{Rate: videoRate, Back: time.Second}
	}
	return &sender{T: t, line: NewLine(c), now: time.Unix(1000, 0), seq: 65000, ts: 0xffff_0000}
}

// pass has time pass, and the timestamp with it.
func (s *sender) pass(d time.Duration) {
	s.now = s.now.Add(d)
	s.ts += uint32(d.Seconds() * videoRate)
}

// send sends the next packet.
func (s *sender) send() (Step, Jump) {
	s.seq++
	return s.put(s.seq, s.ts)
}

// put sends a packet with numbers of the test's own.
func (s *sender) put(seq uint16, ts uint32) (Step, Jump) {
	step, jump := s.line.Step(s.now, seq, ts)
	if step == Follows || step == Jumps {
		s.last, s.time = s.line.Extend(seq, ts)
	}
	return step, jump
}

// run sends frames of one packet, and requires that all of them follow.
func (s *sender) run(n int) {
	s.Helper()
	for range n {
		s.pass(33 * ms)
		step, _ := s.send()
		require.Equal(s, Follows, step)
	}
}

// awaitJump sends until the new numbering is found, and returns what is said of it.
func (s *sender) awaitJump() Jump {
	s.Helper()
	for range 3 {
		if step, jump := s.send(); step == Jumps {
			return jump
		}
		s.pass(33 * ms)
	}
	s.Fatal("the jump is not found")
	return Jump{}
}

// What is late, lost, or comes after a pause, is no jump.
func TestWhatIsNoJump(t *testing.T) {
	for name, f := range map[string]func(s *sender){
		"reordering": func(s *sender) {
			for _, by := range []uint16{3, 1, 2, 20, 4} {
				step, _ := s.put(s.seq+by, s.ts+uint32(by)*3000)
				require.Equal(s, Follows, step)
			}
			s.seq += 20
			s.ts += 20 * 3000
			s.now = s.now.Add(20 * 33 * ms)
		},
		"B-frames": func(s *sender) {
			for _, by := range []int{4, 2, 1, 3, 8, 6, 5, 7, 9} {
				s.now = s.now.Add(33 * ms)
				s.seq++
				step, _ := s.put(s.seq, s.ts+uint32(by)*3000)
				require.Equal(s, Follows, step)
			}
			s.ts += 9 * 3000
		},
		"a packet that is repaired after two seconds": func(s *sender) {
			lost, ts := s.seq+1, s.ts+3000
			s.seq++
			s.run(60)
			step, _ := s.put(lost, ts)
			require.Equal(s, Follows, step)
		},
		"duplicates": func(s *sender) {
			for i := range uint16(20) {
				step, _ := s.put(s.seq-i, s.ts-uint32(i)*2970)
				require.Equal(s, Follows, step)
			}
		},
		"a large keyframe that was lost": func(s *sender) {
			s.pass(33 * ms)
			for range 400 { // the one ahead of it
				step, _ := s.send()
				require.Equal(s, Follows, step)
			}
			s.run(30)
			s.pass(33 * ms)
			s.seq += 420
		},
		"a burst that was lost":                    func(s *sender) { s.seq += 60 },
		"an outage":                                func(s *sender) { s.pass(20 * time.Second); s.seq += 600 },
		"a mute over which time goes on":           func(s *sender) { s.pass(30 * time.Second) },
		"a mute of an hour":                        func(s *sender) { s.pass(time.Hour) },
		"a mute of a day":                          func(s *sender) { s.pass(24 * time.Hour) },
		"a mute over which the time stands still":  func(s *sender) { s.now = s.now.Add(30 * time.Second) },
		"an hour over which the time stands still": func(s *sender) { s.now = s.now.Add(time.Hour) },
		"a day over which the time stands still":   func(s *sender) { s.now = s.now.Add(24 * time.Hour) },
		"a mute over which some time goes on": func(s *sender) {
			s.pass(10 * time.Second)
			s.now = s.now.Add(20 * time.Second)
		},
		"a pause of a sender whose clock is wrong by 1000 ppm": func(s *sender) {
			s.pass(time.Hour)
			s.ts += 3600 * videoRate / 1000
		},
		"a network that stalls and then lets all through": func(s *sender) {
			s.now = s.now.Add(5 * time.Second)
			for range 150 {
				s.seq++
				s.ts += 2970
				step, _ := s.put(s.seq, s.ts)
				require.Equal(s, Follows, step)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, LineConfig{})
			s.run(100)
			before, time := s.last, s.time
			f(s)
			s.run(100)
			require.Less(t, s.last-before, uint64(1000))
			require.Less(t, s.time-time, uint64(25*3600*videoRate))
			require.Greater(t, s.time, time)
		})
	}
}

// A node that catches up sends faster than in real time, with the publisher's
// pauses.
func TestCatchingUpIsNoJump(t *testing.T) {
	s := newSender(t, LineConfig{Rate: videoRate, Back: time.Second, Ahead: 15 * time.Second})
	for range 10 {
		s.seq++
		s.ts += videoRate // a frame a second, all at once
		step, _ := s.put(s.seq, s.ts)
		require.Equal(t, Follows, step)
	}
	s.ts += 10 * videoRate
	step, _ := s.send()
	require.Equal(t, Follows, step)
}

func TestJumps(t *testing.T) {
	const minutes = 60 * videoRate
	for name, tc := range map[string]struct {
		seq  int
		ts   int
		want Jump
	}{
		"time goes back by ten minutes":   {ts: -10 * minutes, want: Jump{Time: true}},
		"time goes back by five seconds":  {ts: -5 * videoRate, want: Jump{Time: true}},
		"time goes forward by ten":        {ts: 10 * minutes, want: Jump{Time: true}},
		"time goes forward by three s":    {ts: 3 * videoRate, want: Jump{Time: true}},
		"time goes forward by half":       {ts: 1<<31 - 10, want: Jump{Time: true}},
		"numbers go forward by 500":       {seq: 500, want: Jump{Held: true}},
		"numbers go forward by 20,000":    {seq: 20000, want: Jump{Held: true}},
		"numbers go forward by 32,000":    {seq: 32000, want: Jump{Held: true}},
		"numbers go forward by 40,000":    {seq: 40000, want: Jump{Held: true}},
		"numbers go back by 20,000":       {seq: -20000, want: Jump{Held: true}},
		"numbers go back by 3,000":        {seq: -3000, want: Jump{Held: true}},
		"numbers go back by 50":           {seq: -50, want: Jump{Gap: true}},
		"both go elsewhere":               {seq: 12345, ts: 77 * minutes, want: Jump{Time: true, Gap: true, Held: true}},
		"both go back by little":          {seq: -100, ts: -10 * minutes, want: Jump{Time: true, Gap: true, Held: true}},
		"both go forward by little":       {seq: 300, ts: 10 * minutes, want: Jump{Time: true, Gap: true, Held: true}},
		"time goes, and packets are lost": {seq: 5, ts: 10 * minutes, want: Jump{Time: true, Gap: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, LineConfig{})
			s.run(100)
			before, time, expected := s.last, s.time, s.line.Expected(1<<16|65001)
			late, lateTS := s.seq-1, s.ts-3000
			s.pass(33 * ms)
			s.seq += uint16(tc.seq)
			s.ts += uint32(tc.ts)
			require.Equal(t, tc.want, s.awaitJump())
			require.Greater(t, s.last, before)
			require.Greater(t, s.time, time)
			require.Less(t, s.line.Expected(1<<16|65001), expected+20, "what was never sent is not expected")
			if step, _ := s.line.Step(s.now, late, lateTS); step == Jumps || step == Suspect {
				t.Fatalf("a late packet of before is %d", step)
			}
			s.run(300)
		})
	}
}

// What is left behind and comes late does not lead back: neither one packet nor
// several in a row.
func TestLatePacketsDoNotLeadBack(t *testing.T) {
	for _, jump := range []struct{ seq, ts int }{{0, -600 * videoRate}, {20000, 0}, {-20000, 60 * videoRate}, {500, -60 * videoRate}} {
		s := newSender(t, LineConfig{})
		s.run(50)
		old, ts := s.seq, s.ts
		s.seq += uint16(jump.seq)
		s.ts += uint32(jump.ts)
		s.pass(33 * ms)
		s.awaitJump()
		for i := range uint16(10) {
			step, _ := s.line.Step(s.now, old-10+i, ts-uint32(10-i)*2970)
			require.Contains(t, []Step{Follows, Stale}, step, "%+v", jump)
		}
		s.run(50)
	}
}

// A stray packet changes nothing.
func TestAStrayPacketIsDropped(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := newSender(t, LineConfig{})
	s.run(100)
	for range 1000 {
		s.now = s.now.Add(ms)
		seq := s.seq + 5000 + uint16(rng.Uint32N(50000))
		step, _ := s.line.Step(s.now, seq, rng.Uint32())
		require.Contains(t, []Step{Suspect, Stale}, step)
		s.run(1)
	}
}

// Old packets that a sender repeats to probe a path are no new numbering, as long
// as the present one goes on.
func TestOldPacketsInARow(t *testing.T) {
	s := newSender(t, LineConfig{})
	s.line.config.Rate = videoRate
	for range 5000 {
		s.pass(2 * ms)
		s.send()
	}
	old, ts := s.seq-3000, s.ts-3000*180
	for i := range uint16(100) {
		s.pass(2 * ms)
		step, _ := s.send()
		require.Equal(t, Follows, step)
		step, _ = s.line.Step(s.now, old+i, ts+uint32(i)*180)
		require.Contains(t, []Step{Suspect, Stale}, step)
	}
}

// Whatever comes, extended numbers of what follows are unique, and a sender that
// goes on is found again within a few packets.
func FuzzLine(f *testing.F) {
	f.Add(uint64(1), uint16(0), uint32(0))
	f.Add(uint64(7), uint16(40000), uint32(1<<31))
	f.Fuzz(func(t *testing.T, seed uint64, seqJump uint16, tsJump uint32) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := newSender(t, LineConfig{})
		highest := uint64(0)
		for range 20 {
			missed := 0
			for i := range 40 + rng.IntN(40) {
				s.pass(time.Duration(rng.IntN(60)) * ms)
				step, _ := s.send()
				if step != Follows && step != Jumps {
					missed++
				} else if i > 20 {
					require.Greater(t, s.last, highest)
				}
				highest = max(highest, s.last)
			}
			require.LessOrEqual(t, missed, 20, "seed %d", seed)
			s.seq += seqJump + uint16(rng.IntN(3))
			s.ts += tsJump
			if rng.IntN(3) == 0 {
				s.seq, s.ts = uint16(rng.Uint32()), rng.Uint32()
			}
		}
	})
}

func TestALineDoesNotAllocate(t *testing.T) {
	l, now, seq, ts := NewLine(LineConfig{Rate: videoRate, Back: time.Second}), time.Unix(1, 0), uint16(0), uint32(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now, seq, ts = now.Add(33*ms), seq+1, ts+3000
		l.Step(now, seq, ts)
		l.Extend(seq, ts)
	}))
}
