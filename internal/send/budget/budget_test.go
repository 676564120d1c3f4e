package budget

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

var epoch = time.Unix(1000, 0)

// allow asks for a packet on a path of which nothing is known.
func allow(b *Budget, now time.Time, seq uint64, bytes int, rtt time.Duration) bool {
	return b.Allow(now, Request{Seq: seq, Bytes: bytes, RTT: rtt, Room: Unknown}) > 0
}

// grant asks for n different packets and returns how many may go.
func grant(b *Budget, now time.Time, first uint64, n int) int {
	granted := 0
	for i := range n {
		if allow(b, now, first+uint64(i), 1200, 50*ms) {
			b.Spend(now, 1200)
			granted++
		}
	}
	return granted
}

// play sends media at bytes a second for d.
func play(b *Budget, now time.Time, d time.Duration, rate int) time.Time {
	for end := now.Add(d); now.Before(end); now = now.Add(10 * ms) {
		b.Sent(now, rate/100)
	}
	return now
}

func TestBurstAtTheStart(t *testing.T) {
	b := New(Config{})
	require.Equal(t, 32, grant(b, epoch, 1, 100))
	require.Equal(t, Denied{Credit: 68}, b.Denied())
}

func TestShareOfTheMedia(t *testing.T) {
	for _, rate := range []int{30_000, 300_000, 1_000_000} {
		b := New(Config{Opening: -1})
		now := epoch
		granted, seq := 0, uint64(0)
		for range 100 {
			now = play(b, now, 100*ms, rate)
			granted += grant(b, now, seq, 200)
			seq += 200
		}
		media := 10 * rate
		require.LessOrEqual(t, granted*1200, media/4+32*1200, "at %d", rate)
		require.GreaterOrEqual(t, granted*1200, media/4, "at %d", rate)
	}
}

// In the opening all that was sent may be sent again.
func TestOpening(t *testing.T) {
	b := New(Config{})
	require.True(t, b.Opening(epoch))
	now := play(b, epoch, 500*ms, 1_200_000)
	require.True(t, b.Opening(now))
	require.InDelta(t, 500, grant(b, now, 0, 1000), 33)
	now = play(b, now, 510*ms, 1_200_000)
	require.False(t, b.Opening(now))
	require.LessOrEqual(t, grant(b, now, 1000, 1000), 250, "the share of a second")
	now = play(b, now, time.Second, 1_200_000)
	require.InDelta(t, 250, grant(b, now, 0, 1000), 33)
}

// What a packet takes is what counts, and a second copy takes it again.
func TestSpendIsWhatCounts(t *testing.T) {
	b := New(Config{Burst: 2000, Opening: -1})
	require.True(t, allow(b, epoch, 1, 1000, 50*ms))
	b.Spend(epoch, 1050)
	require.False(t, allow(b, epoch, 2, 1000, 50*ms))
	b.Sent(epoch, 200)
	require.True(t, allow(b, epoch, 2, 1000, 50*ms))
}

// Two copies are sent where the repair before was lost, or of all, if most of the credit
// is there and the path has room.
func TestTwoCopies(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		spent  int
		room   float64
		again  bool
		far    bool
		copies int
	}{
		"the first time":              {room: Unknown, copies: 1},
		"again":                       {room: Unknown, again: true, copies: 2},
		"again, with little credit":   {room: Unknown, again: true, spent: 15_000, copies: 1},
		"again, with less":            {room: Unknown, again: true, spent: 20_000, copies: 0},
		"the first time, with little": {room: Unknown, spent: 36_000, copies: 1},
		"again, with little room":     {room: 2000, again: true, copies: 1},
		"without room":                {room: 1199, copies: 0},
		"for many":                    {config: Config{Twice: true}, room: Unknown, copies: 2},
		"for many, with little":       {config: Config{Twice: true}, room: Unknown, spent: 20_000, copies: 1},
		"far":                         {far: true, room: Unknown, copies: 2},
		"far, with little":            {far: true, room: Unknown, spent: 20_000, copies: 1},
		"far, with little room":       {far: true, room: 2000, copies: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, now := New(c.config), epoch
			if c.again {
				require.Positive(t, b.Allow(now, Request{Seq: 7, Bytes: 1200, RTT: 50 * ms, Room: Unknown}))
				now = now.Add(50 * ms)
			}
			b.Spend(now, c.spent)
			require.Equal(t, c.copies, b.Allow(now, Request{Seq: 7, Bytes: 1200, RTT: 50 * ms, Room: c.room, Far: c.far}))
		})
	}
}

// What nobody has asked for again is sent twice only while most of the credit is there.
func TestPlenty(t *testing.T) {
	b := New(Config{Burst: 100_000, Opening: -1})
	require.True(t, b.Plenty(epoch))
	b.Spend(epoch, 25_000)
	require.True(t, b.Plenty(epoch))
	b.Spend(epoch, 1)
	require.False(t, b.Plenty(epoch))
	b.Sent(epoch, 1000) // a quarter of it
	require.True(t, b.Plenty(epoch))
}

func TestSavesUpForASecondAtMost(t *testing.T) {
	b := New(Config{Share: 0.5, Burst: 1200})
	now := play(b, epoch, time.Minute, 240_000)
	require.InDelta(t, 100, grant(b, now, 0, 1000), 13, "half of a second, to a bucket")

	now = play(b, now, time.Minute, 240_000)
	require.Equal(t, 1, grant(b, now.Add(2*time.Second), 0, 1000), "the media ended long ago")
}

func TestOncePerRoundTrip(t *testing.T) {
	b := New(Config{})
	require.True(t, allow(b, epoch, 7, 1200, 80*ms))
	require.False(t, allow(b, epoch.Add(79*ms), 7, 1200, 80*ms))
	require.True(t, allow(b, epoch.Add(79*ms), 8, 1200, 80*ms), "another packet")
	require.True(t, allow(b, epoch.Add(80*ms), 7, 1200, 80*ms))
	require.False(t, allow(b, epoch.Add(129*ms), 7, 1200, 0), "round trip not known")
	require.True(t, allow(b, epoch.Add(130*ms), 7, 1200, 0))
	require.Equal(t, Denied{Repeat: 2}, b.Denied())
}

func TestRepaired(t *testing.T) {
	b := New(Config{})
	require.False(t, b.Repaired(0))
	require.False(t, b.RepairedNow(epoch, 0))
	require.True(t, allow(b, epoch, 0, 1200, 80*ms))
	require.True(t, b.Repaired(0))
	require.True(t, b.RepairedNow(epoch, 0))
	require.False(t, b.RepairedNow(epoch.Add(ms), 0))
	require.False(t, b.Repaired(slots), "another packet of the same slot")
}

func TestPacketZeroIsAsGoodAsAny(t *testing.T) {
	b := New(Config{})
	require.True(t, allow(b, epoch, 0, 1200, 80*ms))
	require.False(t, allow(b, epoch, 0, 1200, 80*ms))
}

func TestTableIsBounded(t *testing.T) {
	b := New(Config{})
	require.True(t, allow(b, epoch, 1, 100, 80*ms))
	require.True(t, allow(b, epoch, 1+slots, 100, 80*ms))
	require.True(t, allow(b, epoch, 1, 100, 80*ms), "pushed out")
}

func TestWhatIsRefusedIsNotCounted(t *testing.T) {
	b := New(Config{Burst: 1000, Share: 0.5, Opening: -1})
	require.False(t, allow(b, epoch, 7, 1200, 80*ms))
	b.Sent(epoch, 4000)
	require.True(t, allow(b, epoch, 7, 1200, 80*ms), "no repeat, since nothing was sent")
}

func TestSpanSumsTheLastSecond(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type entry struct {
		at time.Time
		n  int
	}
	var s span
	var all []entry
	now := epoch
	for range 5000 {
		now = now.Add(time.Duration(rng.IntN(100)) * ms)
		if rng.IntN(200) == 0 {
			now = now.Add(time.Duration(rng.IntN(3000)) * ms)
		}
		n := rng.IntN(1000)
		s.add(now, n)
		all = append(all, entry{now, n})
		least, most := 0, 0
		for _, e := range all[max(0, len(all)-300):] {
			if age := now.Sub(e.at); age <= time.Second {
				most += e.n
				if age <= time.Second-spanBucket {
					least += e.n
				}
			}
		}
		if s.sum < least || s.sum > most {
			t.Fatalf("sum %d is not in [%d, %d]", s.sum, least, most)
		}
	}
	s.add(now.Add(-time.Hour), 1)
	require.Positive(t, s.sum, "time that runs backward is the present")
}

func TestDoesNotAllocate(t *testing.T) {
	b, now, seq := New(Config{}), epoch, uint64(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(ms)
		seq++
		b.Sent(now, 1200)
		allow(b, now, seq, 1200, 50*ms)
	}))
}

func BenchmarkSent(b *testing.B) {
	budget, now := New(Config{}), epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(ms)
		budget.Sent(now, 1200)
	}
}
