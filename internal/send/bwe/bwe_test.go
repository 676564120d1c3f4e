package bwe

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

// home is a path of 5 Mbit/s.
var home = netem.Path{Delay: 50 * ms, Rate: 5_000_000, Queue: 300 * ms}

func with(p netem.Path, f func(*netem.Path)) netem.Path {
	f(&p)
	return p
}

func TestPathWithRoom(t *testing.T) {
	for burst := range 10 {
		v := newViewer(Config{}, home)
		v.run(time.Minute, 2e6, burst+1)
		s := v.state()
		require.Zero(t, v.over, "bursts of %d", burst+1)
		require.Equal(t, TransportFeedback, s.Source)
		require.InEpsilon(t, 2e6, s.Acknowledged, 0.06)
		require.InEpsilon(t, 2e6, s.Sent, 0.06)
		require.InDelta(t, 130, float64(s.RoundTrip/ms), 35)
		require.Zero(t, s.Loss)
		require.Equal(t, ByApplication, s.LimitedBy)
	}
}

// Receivers that report each five seconds, as RFC 3550 section 6.2 has them do, are not
// silent between two reports.
func TestSlowReportsAreNoSilence(t *testing.T) {
	now := time.Unix(1000, 0)
	e := New(Config{}, now)
	highest := uint32(0)
	for i := range 200 { // a quarter of a second each
		now = now.Add(250 * ms)
		e.SentPlain(now, 50, 50*1200)
		if highest += 50; i%20 == 0 {
			e.Report(now, Report{SSRC: 1, Highest: highest, RoundTrip: 50 * ms})
		}
		if i > 20 {
			require.Equal(t, Reports, e.State(now).Source, "after %d", i)
		}
	}
	require.Equal(t, Nothing, e.State(now.Add(mostSilence)).Source)
}

func TestCapacityFalls(t *testing.T) {
	for _, capacity := range []float64{500e3, 1e6, 1.6e6} {
		v := newViewer(Config{}, home)
		v.run(10*time.Second, 2e6, 5)
		v.link.SetPath(with(home, func(p *netem.Path) { p.Rate = int(capacity) }))
		fell := v.now
		for v.over == 0 && v.now < fell+5*time.Second {
			v.run(50*ms, 2e6, 5)
		}
		require.Less(t, v.over-fell, 600*ms, "%.0f", capacity)
		require.Equal(t, ByDelay, v.state().LimitedBy)
		v.run(300*ms, 2e6, 5)
		require.Less(t, v.state().Bitrate, capacity)
		require.Greater(t, v.state().Bitrate, 0.7*capacity)
	}
}

func TestEstimateGrowsWithWhatArrives(t *testing.T) {
	v := newViewer(Config{Start: 300e3}, home)
	v.run(5*time.Second, 1e6, 3)
	require.Greater(t, v.state().Bitrate, 400e3)
	v.run(time.Minute, 1e6, 3)
	require.InEpsilon(t, 1.5e6, v.state().Bitrate, 0.1, "half as much again as arrives")
}

// What arrives without a queue is carried, whatever the estimate was.
func TestEstimateIsNoLessThanWhatArrives(t *testing.T) {
	v := newViewer(Config{Start: 100e3}, home)
	v.run(2*time.Second, 1e6, 3)
	require.Greater(t, v.state().Bitrate, 900e3)
}

func TestRandomLoss(t *testing.T) {
	for _, loss := range []float64{0.01, 0.05, 0.10} {
		v := newViewer(Config{}, with(home, func(p *netem.Path) { p.Loss = loss }))
		v.run(2*time.Minute, 2e6, 5)
		require.Zero(t, v.over, "loss %.2f", loss)
		require.InDelta(t, loss, v.state().Inherent, 0.02)
	}
}

func TestLossOfCongestion(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(10*time.Second, 2e6, 1)
	// Two packets of queue: no delay tells that the path is full.
	v.link.SetPath(with(home, func(p *netem.Path) { p.Rate, p.QueueBytes = 1_000_000, 2500 }))
	fell := v.now
	v.run(3*time.Second, 2e6, 1)
	require.Less(t, v.over-fell, 1500*ms)
	require.Equal(t, ByLoss, v.state().LimitedBy)
	require.InEpsilon(t, 1e6, v.state().Bitrate, 0.2)
}

func TestJitter(t *testing.T) {
	for name, p := range map[string]netem.Path{
		"Wandering":  with(home, func(p *netem.Path) { p.Jitter, p.JitterPeriod = 40*ms, 100*ms }),
		"EachPacket": with(home, func(p *netem.Path) { p.Jitter = 50 * ms }),
		"Reordering": with(home, func(p *netem.Path) { p.Reorder, p.ReorderBy = 0.05, 30*ms }),
	} {
		v := newViewer(Config{}, p)
		v.run(2*time.Minute, 2e6, 5)
		require.Zero(t, v.over, name)
	}
}

// TestLateReordering: what arrives more than 100 ms after its successors has not been
// lost, and is waited for from then on.
func TestLateReordering(t *testing.T) {
	v := newViewer(Config{}, with(home, func(p *netem.Path) { p.Reorder, p.ReorderBy = 0.05, 150*ms }))
	v.run(20*time.Second, 2e6, 1)
	require.Zero(t, v.over)
	require.Greater(t, v.fine.ring.window, 150*ms)
	require.Less(t, v.state().Loss, 0.005)
	require.Less(t, v.state().Inherent, 0.005)
}

func TestClocksDiffer(t *testing.T) {
	for _, clock := range []time.Duration{time.Hour, 1<<24*referenceUnit - 10*time.Second} {
		v := newViewer(Config{}, home)
		v.clock = clock
		v.run(30*time.Second, 2e6, 5) // over the wrap of the reference time
		require.Zero(t, v.over)
		require.InEpsilon(t, 2e6, v.state().Acknowledged, 0.05)
	}
}

func TestSequenceNumbersWrap(t *testing.T) {
	v := newViewer(Config{}, home)
	v.seq = 65000
	v.reported = v.seq
	v.run(10*time.Second, 2e6, 5)
	require.Greater(t, v.seq, 1<<16)
	require.Zero(t, v.over)
	require.Zero(t, v.state().Loss)
	require.InEpsilon(t, 2e6, v.state().Acknowledged, 0.05)
}

// TestAsleep: numbers may have wrapped while the estimator dozed, and messages about
// packets from before say nothing.
func TestAsleep(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(5*time.Second, 2e6, 5)
	stale := bwetest.Feedback(0, v.seq-20, []bwetest.Arrival{{Number: v.seq - 20, At: v.now}, {Number: v.seq - 1, At: v.now}})
	v.Doze()
	require.True(t, v.Dozing())
	require.NoError(t, v.Feedback(v.time(), stale))
	v.arrivals, v.messages = nil, nil
	v.seq += 70_000
	v.reported = v.seq
	v.now += time.Hour
	v.Wake(v.time())
	v.send()
	require.NoError(t, v.Feedback(v.time(), stale))
	require.Zero(t, v.state().Loss)
	v.run(5*time.Second, 2e6, 5)
	require.Zero(t, v.over)
	require.InEpsilon(t, 2e6, v.state().Acknowledged, 0.05)
}

func TestWhatIsSentBesidesCounts(t *testing.T) {
	v := newViewer(Config{}, home)
	for range 1000 {
		v.flags = []Flag{Media, Repair, Padding}[v.seq%3]
		v.run(10*ms, 0.96e6, 1)
		v.SentPlain(v.time(), 1, 250) // sound whose m-section has not negotiated numbers
	}
	require.Zero(t, v.state().Loss)
	require.InEpsilon(t, 1.16e6, v.state().Acknowledged, 0.05, "0.96 with numbers, and 0.2 without")
}

// TestUnreportedSound: a viewer has negotiated feedback on sound and sends none, as some
// versions of Firefox. It counts once there was some.
func TestUnreportedSound(t *testing.T) {
	for _, mute := range []Flag{Sound, 0} {
		v := newViewer(Config{}, home)
		run := func() {
			for range 1000 {
				v.flags = []Flag{Media, Media, Media, Sound}[v.seq%4]
				v.run(10*ms, 0.96e6, 1)
			}
		}
		v.mute = mute
		run()
		require.Zero(t, v.state().Loss)
		require.Zero(t, v.over)
		if v.mute = Sound; mute == 0 {
			run()
			require.InDelta(t, 0.25, v.state().Loss, 0.05)
		}
	}
}

// A receiver that acknowledges media and no padding (Firefox) can be probed with it: that
// media do not take longer meanwhile shows that there was room for both.
func TestProbeOfUnreportedPadding(t *testing.T) {
	probe := func(capacity float64) ProbeResult {
		v := newViewer(Config{}, netem.Path{Delay: 50 * ms, Rate: int(capacity), Queue: 300 * ms})
		v.mute = Padding
		v.run(5*time.Second, 300e3, 1)
		v.StartProbe(v.time(), Probe{ID: 1, Rate: 1200e3, Duration: 300 * ms})
		for end := v.now + 300*ms; v.now < end; {
			v.flags = Padding
			v.run(24*ms, 900e3, 1)
			v.flags = Media
			v.run(8*ms, 1200e3, 1)
		}
		v.run(2*time.Second, 300e3, 1)
		return v.state().Probe
	}
	room := probe(3e6)
	require.True(t, room.Done && !room.Harm && !room.Unknown, "%+v", room)
	require.InDelta(t, 1050e3, room.Rate, 200e3)
	narrow := probe(500e3)
	require.True(t, narrow.Done, "%+v", narrow)
	require.Less(t, narrow.Rate, 700e3)
}

// TestEstimateThatGrows: libwebrtc's first estimate is what has arrived, and less than what
// is sent. It grows, and tells of no trouble; one that falls does, and so does one that is
// far too low.
func TestEstimateThatGrows(t *testing.T) {
	for name, c := range map[string]struct {
		first, factor float64
		trouble       bool
	}{
		"Grows":  {0.7e6, 1.016, false}, // 8 % a second
		"Falls":  {0.8e6, 0.95, true},
		"FarLow": {0.3e6, 1.016, true},
		"Enough": {0.95e6, 1, false},
	} {
		e := New(Config{ReceiverEstimate: true}, epoch)
		now, estimate, trouble := epoch, c.first, false
		for i := range 600 {
			now = now.Add(10 * ms)
			e.SentPlain(now, 1, 1250) // 1 Mbit/s
			if i%20 == 19 && i > 300 {
				e.Estimate(now, estimate)
				estimate *= c.factor
				trouble = trouble || e.State(now).Trouble
			}
		}
		require.Equal(t, c.trouble, trouble, name)
	}
}

func TestLostFeedback(t *testing.T) {
	v := newViewer(Config{}, home)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		v.deaf = rng.IntN(2) == 0
		v.run(50*ms, 2e6, 5)
	}
	require.Zero(t, v.over, "of packets whose message was lost nothing is known")
	require.Zero(t, v.state().Inherent)
}

func TestOutageTeachesNothing(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(10*time.Second, 2e6, 5)
	v.link.SetPath(with(home, func(p *netem.Path) { p.Loss = 1 }))
	v.run(5*time.Second, 2e6, 5)
	require.Equal(t, Nothing, v.state().Source)
	v.link.SetPath(home)
	v.run(500*ms, 2e6, 5)
	s := v.state()
	require.Equal(t, TransportFeedback, s.Source)
	require.Equal(t, Normal, s.Verdict)
	require.Zero(t, s.Inherent)
	require.Less(t, s.Loss, 0.01)
}

func TestQueueOfOthersIsAccepted(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(10*time.Second, 1e6, 2)
	v.link.SetPath(with(home, func(p *netem.Path) { p.Delay += 100 * ms })) // a longer way
	v.run(2*time.Second, 1e6, 2)
	require.Equal(t, Overuse, v.state().Verdict, "it might be a queue")
	v.run(8*time.Second, 1e6, 2)
	require.Equal(t, Normal, v.state().Verdict, "sending less has not made it shorter")
}

// TestWakesIntoAQueue: what has grown while the estimator dozed is not the path's.
func TestWakesIntoAQueue(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(5*time.Second, 1e6, 2)
	v.Report(v.time(), Report{SSRC: 1, Highest: 100, RoundTrip: 100 * ms})
	v.Doze()
	v.arrivals, v.messages = nil, nil
	v.link.SetPath(with(home, func(p *netem.Path) { p.Delay += 120 * ms }))
	v.run(5*time.Second, 1e6, 2)
	v.arrivals, v.messages, v.reported = nil, nil, v.seq
	v.Wake(v.time())
	v.run(600*ms, 1e6, 2)
	require.NotZero(t, v.over)
	require.InDelta(t, 90, float64(v.state().Queue/ms), 35)
	require.InEpsilon(t, 0.85e6, v.state().Bitrate, 0.1, "by whole slots")
}

func TestWatchdog(t *testing.T) {
	v := newViewer(Config{ReceiverEstimate: true}, home)
	report := func() { v.Report(v.time(), Report{SSRC: 1, Highest: uint32(v.seq), RoundTrip: 100 * ms}) }
	v.run(5*time.Second, 2e6, 5)
	require.Equal(t, TransportFeedback, v.state().Source)
	v.deaf = true
	for range 20 {
		v.run(100*ms, 2e6, 5)
		v.Estimate(v.time(), 3e6)
		report()
	}
	require.Equal(t, ReceiverEstimate, v.state().Source)
	for range 20 {
		v.run(100*ms, 2e6, 5)
		report()
	}
	require.Equal(t, Reports, v.state().Source)
	v.run(5*time.Second, 2e6, 5)
	require.Equal(t, Nothing, v.state().Source)
	require.True(t, v.state().Trouble)
	report()
	require.Equal(t, Reports, v.state().Source)
	v.Estimate(v.time(), 3e6)
	require.Equal(t, ReceiverEstimate, v.state().Source)
	v.deaf = false
	v.run(time.Second, 2e6, 5)
	require.Equal(t, TransportFeedback, v.state().Source)
	// Few packets make no silence.
	v.deaf = true
	v.run(4*time.Second, 50e3, 1)
	require.Equal(t, TransportFeedback, v.state().Source)
}

// memory returns what an estimator that is awake takes, in bytes.
func (v *viewer) memory() int {
	return int(unsafe.Sizeof(Estimator{})+unsafe.Sizeof(fine{})) + len(v.fine.ring.slots)*int(unsafe.Sizeof(record{}))
}

func TestMemory(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Estimator{}), uintptr(512))
	v := newViewer(Config{}, home)
	v.run(20*time.Second, 2.5e6, 5)
	require.Len(t, v.fine.ring.slots, leastRing)
	require.Less(t, v.memory(), 5<<10)
	v.deaf = true // nothing is acknowledged: what is on its way has to be remembered
	v.run(20*time.Second, 4.5e6, 5)
	require.LessOrEqual(t, len(v.fine.ring.slots), mostRing)
	v.Doze()
	require.Nil(t, v.fine)
}

func TestAllocations(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(5*time.Second, 2e6, 5)
	var arrivals []bwetest.Arrival
	for i := range 16 {
		arrivals = append(arrivals, bwetest.Arrival{Number: v.seq + i, At: v.now + time.Duration(i)*ms})
	}
	p := bwetest.Feedback(0, v.seq, arrivals)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range 16 {
			v.Sent(uint16(v.seq+i), v.time(), packetSize, Media)
		}
		v.now += 50 * ms
		_ = v.Feedback(v.time(), p)
		v.Report(v.time(), Report{SSRC: 1, Highest: 9, RoundTrip: ms})
		v.Estimate(v.time(), 1e6)
		v.Nack(3)
		_ = v.State(v.time())
	}))
}

func BenchmarkFeedback(b *testing.B) {
	for _, n := range []int{16, 32} {
		b.Run(map[int]string{16: "16", 32: "32"}[n], func(b *testing.B) {
			v := newViewer(Config{}, home)
			v.run(5*time.Second, 2e6, 5)
			var messages [][]byte
			for m := range 4096 {
				var arrivals []bwetest.Arrival
				for i := range n {
					at := time.Duration(m)*50*ms + time.Duration(i)*3*ms
					arrivals = append(arrivals, bwetest.Arrival{Number: v.seq + m*n + i, At: v.now + at})
				}
				messages = append(messages, bwetest.Feedback(0, v.seq+m*n, arrivals))
			}
			v.Doze()
			v.Wake(v.time())
			b.ReportAllocs()
			for m := 0; b.Loop(); m++ {
				for i := range n {
					v.Sent(uint16(v.seq+m%4096*n+i), v.time(), packetSize, Media)
				}
				v.now += 50 * ms
				if err := v.Feedback(v.time(), messages[m%4096]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(v.memory()), "B/viewer")
		})
	}
}

func BenchmarkSent(b *testing.B) {
	v := newViewer(Config{}, home)
	for i := 0; b.Loop(); i++ {
		v.now += 3 * ms
		v.Sent(uint16(i), v.time(), packetSize, Media)
	}
}
