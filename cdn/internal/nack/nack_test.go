package nack

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var epoch = time.Unix(1000, 0)

// A feed drives a generator in virtual time.
type feed struct {
	*testing.T
	gen *Generator
	now time.Time
}

func newFeed(t *testing.T, c Config) *feed { return &feed{T: t, gen: New(c), now: epoch} }

func (f *feed) pass(d time.Duration) { f.now = f.now.Add(d) }

func (f *feed) receive(seqs ...uint64) {
	f.Helper()
	for _, seq := range seqs {
		require.True(f, f.gen.Received(f.now, seq), "packet %d is new", seq)
	}
}

// due requires that exactly want is requested now, and returns in how long the
// next request is due.
func (f *feed) due(want ...uint64) time.Duration {
	f.Helper()
	got, next := f.gen.Due(f.now, nil)
	require.Equal(f, want, got)
	if next.IsZero() {
		return 0
	}
	return next.Sub(f.now)
}

// repair has packets lost and each repaired d after its request.
func (f *feed) repair(first uint64, n int, d time.Duration) uint64 {
	f.Helper()
	f.receive(first)
	for range n {
		f.receive(first + 2)
		f.pass(f.due())
		f.due(first + 1)
		f.pass(d)
		f.gen.Due(f.now, nil)
		f.receive(first + 1)
		f.pass(time.Second)
		first += 2
		f.receive(first + 1)
		first++
	}
	return first
}

func TestNothingIsMissingFromAStreamInOrder(t *testing.T) {
	f := newFeed(t, Config{})
	require.Zero(t, f.due())
	f.receive(70000, 70001, 70002)
	f.pass(time.Hour)
	f.receive(70003)
	require.Zero(t, f.due())
}

func TestGapIsRequestedAfterTheReorderWait(t *testing.T) {
	f := newFeed(t, Config{})
	f.receive(10, 13)
	require.Equal(t, 5*ms, f.due())
	f.pass(5*ms - 1)
	require.Equal(t, time.Duration(1), f.due(), "too early")
	f.pass(1)
	require.Equal(t, 90*ms, f.due(11, 12), "the assumed round trip and the least variance")
	f.receive(11)
	f.pass(90 * ms)
	f.due(12)
	f.receive(12)
	require.Zero(t, f.due())
	require.Zero(t, f.gen.Missing())
}

func TestLatePacketIsNotRequested(t *testing.T) {
	f := newFeed(t, Config{})
	f.receive(10, 12)
	f.pass(4 * ms)
	f.receive(11)
	f.pass(time.Second)
	require.Zero(t, f.due())
}

func TestDuplicatesAndTooOldPackets(t *testing.T) {
	f := newFeed(t, Config{})
	f.receive(100000)
	f.receive(99999) // overtaken by the first
	require.False(t, f.gen.Received(f.now, 100000))
	require.False(t, f.gen.Received(f.now, 99999))
	for seq := uint64(100001); seq < 103000; seq++ {
		f.receive(seq)
	}
	require.False(t, f.gen.Received(f.now, 102999-minWindow+1), "seen")
	require.False(t, f.gen.Received(f.now, 102999-minWindow), "too old to tell")
	require.False(t, f.gen.Received(f.now, 99000), "too old to tell")
}

func TestFirstNumbersOfTheSpace(t *testing.T) {
	f := newFeed(t, Config{})
	f.receive(0, 2, 1)
	require.False(t, f.gen.Received(f.now, 0))
	require.Zero(t, f.gen.Missing())
}

func TestDiscontinuityForgetsEverything(t *testing.T) {
	f := newFeed(t, Config{MaxMissing: 8})
	f.receive(10, 12)
	f.receive(21)
	require.Equal(t, 8, f.gen.Missing(), "1 and 8: the oldest made room")
	f.receive(31)
	require.Zero(t, f.gen.Missing(), "9 at once")
	require.Zero(t, f.due())
	f.receive(33)
	f.pass(5 * ms)
	f.due(32)
	f.receive(25) // what lay in the gap is new all the same
	f.receive(1 << 40)
	require.False(t, f.gen.Received(f.now, 26), "too far back now")
}

func TestOldestMakeRoom(t *testing.T) {
	f := newFeed(t, Config{MaxMissing: 4})
	f.receive(10, 13, 17)
	f.pass(5 * ms)
	f.due(12, 14, 15, 16)
	f.receive(11) // still new, if nobody asks for it any more
}

func TestIntervalsGrowLittle(t *testing.T) {
	f := newFeed(t, Config{MaxAge: time.Hour})
	f.receive(10, 12)
	var waits []time.Duration
	f.pass(f.due())
	for range 11 {
		d := f.due(11)
		waits = append(waits, d)
		f.pass(d)
	}
	require.Equal(t, []time.Duration{90 * ms, 90 * ms, 90 * ms, 135 * ms, 180 * ms}, waits[:5])
	require.Equal(t, 180*ms, waits[10])
	f.pass(f.due(11))
	require.Zero(t, f.due(), "12 tries")
	f.receive(11)
}

func TestGivesUpByAge(t *testing.T) {
	f := newFeed(t, Config{MaxAge: 200 * ms})
	f.receive(10, 12)
	f.pass(5 * ms)
	f.pass(f.due(11))
	f.pass(f.due(11))
	f.pass(f.due(11))
	require.Zero(t, f.due())
	require.Zero(t, f.gen.Missing())
}

func TestRoundTripIsLearned(t *testing.T) {
	for _, rtt := range []time.Duration{ms, 10 * ms, 60 * ms, 85 * ms} {
		f := newFeed(t, Config{})
		f.repair(100, 60, rtt)
		require.InDelta(t, float64(rtt), float64(f.gen.RTT()), float64(ms), "%v", rtt)
	}
}

// Where the assumed round trip is too short for any packet to be requested
// once only, the second copies say so.
func TestLongRoundTripIsLearnedFromDuplicates(t *testing.T) {
	s := newSim(chain(1, simHop{delay: 150 * ms, loss: .02}), Config{})
	s.run()
	require.InDelta(t, 300, s.nodes[1].gen.RTT().Milliseconds(), 5)
}

// A packet that comes twice was late and not lost: its first arrival is no
// sample of the round trip, and the next gap is given more time.
func TestSecondCopyTellsLateFromLost(t *testing.T) {
	f := newFeed(t, Config{})
	f.receive(10, 12)
	f.pass(5 * ms)
	f.due(11)
	f.pass(10 * ms)
	f.receive(11)
	f.pass(50 * ms)
	require.False(t, f.gen.Received(f.now, 11))
	require.Equal(t, 60*ms, f.gen.RTT())
	f.receive(14)
	wait := f.due()
	require.Greater(t, wait, 14*ms)
	require.LessOrEqual(t, wait, 15*ms)
	f.receive(13)

	f.pass(reorderDecay)
	f.receive(16)
	require.Equal(t, 5*ms, f.due(), "it has been quiet since")
}

// Requests that nothing was late for go on to learn: more answers than are held.
func TestMoreAnswersThanAreHeld(t *testing.T) {
	f := newFeed(t, Config{})
	f.receive(0)
	for n := range uint64(3 * maxAnswers) {
		f.receive(2*n + 2)
	}
	f.pass(5 * ms)
	f.gen.Due(f.now, nil)
	f.pass(50 * ms)
	for n := range uint64(3 * maxAnswers) {
		f.receive(2*n + 1)
	}
	require.Equal(t, 50*ms, f.gen.RTT())
}

// Whatever comes, in whatever order: a number is new at most once while it is
// in the window, what is requested has not come, and the bounds hold.
func TestInvariantsUnderDisorder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	g := New(Config{MaxMissing: 64, MaxTries: 3})
	came := map[uint64]bool{}
	now, base := epoch, uint64(1<<20)
	var due []uint64
	for range 200000 {
		now = now.Add(time.Duration(rng.IntN(4)) * ms)
		base += uint64(rng.IntN(3))
		if rng.IntN(5000) == 0 {
			base += uint64(rng.IntN(200))
		}
		seq := base - uint64(rng.IntN(30))
		if fresh := g.Received(now, seq); fresh == came[seq] {
			t.Fatalf("packet %d: fresh %v, came before %v", seq, fresh, came[seq])
		}
		came[seq] = true
		var next time.Time
		due, next = g.Due(now, due[:0])
		for _, n := range due {
			if came[n] {
				t.Fatalf("requested %d, which is here", n)
			}
		}
		if g.Missing() > 64 || (g.Missing() > 0) == next.IsZero() || (!next.IsZero() && !next.After(now)) {
			t.Fatalf("%d missing, next in %v", g.Missing(), next.Sub(now))
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	g := New(Config{})
	rng := rand.New(rand.NewPCG(1, 1))
	now, seq, due := epoch, uint64(1<<16), make([]uint64, 0, 512)
	step := func() {
		for range 100 {
			now = now.Add(ms)
			if seq++; rng.IntN(10) > 0 {
				g.Received(now, seq)
				g.Received(now, seq-uint64(rng.IntN(20)))
			}
			due, _ = g.Due(now, due[:0])
		}
	}
	seq += uint64(g.config.MaxMissing)
	g.Received(now, seq-500)
	g.Received(now, seq) // as many as ever are missing
	step()
	require.Zero(t, testing.AllocsPerRun(100, step))
}

func BenchmarkReceivedInOrder(b *testing.B) {
	g := New(Config{})
	seq := uint64(1 << 16)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		g.Received(epoch, seq)
		_, _ = g.Due(epoch, nil)
	}
}

// A gap of many numbers of which nothing comes was never sent, and is not asked for
// over and over. What was lost in a burst is.
func TestABurstIsAskedForInVainAFewTimes(t *testing.T) {
	for name, tc := range map[string]struct {
		answer bool
		most   int
		least  int
	}{
		"nothing comes": {most: 3 * 400, least: 2 * 400},
		"some comes":    {answer: true, most: 12 * 400, least: 4 * 399},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed(t, Config{})
			f.receive(10, 411)
			asked := 0
			for i := range 400 {
				f.pass(5 * ms)
				got, _ := f.gen.Due(f.now, nil)
				asked += len(got)
				if tc.answer && i == 20 {
					f.receive(200)
				}
			}
			require.LessOrEqual(t, asked, tc.most)
			require.GreaterOrEqual(t, asked, tc.least)
		})
	}
}
