package nack

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// chain is the video of the tests below: 30 frames a second of 8 packets.
func chain(seed uint64, hops ...simHop) simConfig {
	return simConfig{hops: hops, frames: 6000, packets: 8, every: time.Second / 30, spacing: ms / 4, seed: seed}
}

// quantile of ascending latencies.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// within is the share that is not above bar.
func within(sorted []time.Duration, bar time.Duration) float64 {
	n := 0
	for n < len(sorted) && sorted[n] <= bar {
		n++
	}
	return float64(n) / float64(len(sorted))
}

// bar is path + 2 × sum(RTT) + 60 ms. Jitter counts, by its mean, toward the
// path alone.
func bar(hops []simHop) time.Duration {
	var path, rtt time.Duration
	for _, h := range hops {
		path += h.delay + h.jitter/2
		rtt += 2 * h.delay
	}
	return path + 2*rtt + 60*ms
}

func logRun(t *testing.T, s *sim, all []time.Duration) {
	t.Helper()
	t.Logf("frame latency p50 %v p90 %v p99 %v p99.9 %v max %v; within %v: %.4f; within 1 s: %.5f",
		quantile(all, .5).Round(ms), quantile(all, .9).Round(ms), quantile(all, .99).Round(ms), quantile(all, .999).Round(ms),
		quantile(all, 1).Round(ms), bar(s.hops), within(all, bar(s.hops)), within(all, time.Second))
	for i, n := range s.nodes[1:] {
		t.Logf("hop %d: sent %d lost %d requested %d repaired %d duplicates %d RTT %v", i+1,
			n.up.sent, n.up.lost, n.requests, n.up.repairs, n.duplicates, n.gen.RTT().Round(ms))
	}
}

// The bar that the policy was chosen to reach: over three hops that lose 5 %
// each way and jitter by 30 ms, 99 % of the frames are whole within twice the
// round trips, and all but one in 2000 within a second.
func TestChainOfLossyJitteryHops(t *testing.T) {
	for _, delays := range [][3]time.Duration{{20 * ms, 30 * ms, 40 * ms}, {40 * ms, 40 * ms, 40 * ms}, {40 * ms, 20 * ms, 30 * ms}} {
		for seed := range uint64(2) {
			var hops []simHop
			for _, d := range delays {
				hops = append(hops, simHop{delay: d, jitter: 30 * ms, loss: .05})
			}
			s := newSim(chain(seed, hops...), Config{})
			all := s.run()
			logRun(t, s, all)
			require.GreaterOrEqual(t, within(all, bar(hops)), .99)
			require.GreaterOrEqual(t, within(all, time.Second), .9995)
			for i, n := range s.nodes[1:] {
				rtt := 2*delays[i] + 30*ms
				require.Greater(t, n.gen.RTT(), rtt/2, "hop %d", i+1)
				require.Less(t, n.gen.RTT(), 2*rtt, "hop %d", i+1)
				require.Less(t, n.duplicates, n.up.sent/4, "hop %d", i+1)
			}
		}
	}
}

// Without jitter the first hop asks for what was lost only, and nothing comes
// twice. The next ones also ask for what was lost before them, which may cross
// with its repair.
func TestChainWithoutJitterHasFewDuplicates(t *testing.T) {
	hops := []simHop{{delay: 10 * ms, loss: .05}, {delay: 20 * ms, loss: .05}, {delay: 30 * ms, loss: .05}}
	s := newSim(chain(1, hops...), Config{})
	all := s.run()
	logRun(t, s, all)
	require.GreaterOrEqual(t, within(all, bar(hops)), .99)
	require.Less(t, s.nodes[1].duplicates, 10)
	for i, n := range s.nodes[2:] {
		require.Less(t, n.duplicates, n.up.sent/10, "hop %d", i+2)
	}
}

// Half of what a short hop behind a long one misses was lost before, and comes
// after the long round trip. It may take that for its own, and is slower to ask
// twice, but keeps to the bar.
func TestShortHopBehindLongOne(t *testing.T) {
	hops := []simHop{{delay: 100 * ms, jitter: 10 * ms, loss: .02}, {delay: 3 * ms, jitter: ms, loss: .02}}
	s := newSim(chain(1, hops...), Config{})
	all := s.run()
	logRun(t, s, all)
	require.GreaterOrEqual(t, within(all, bar(hops)), .99)
	require.GreaterOrEqual(t, within(all, time.Second), .9995)
	require.Less(t, s.nodes[2].duplicates, s.nodes[1].sent/10)
}

// Reordering alone asks for nearly nothing, once it is known.
func TestReorderingWithoutLoss(t *testing.T) {
	s := newSim(chain(1, simHop{delay: 60 * ms, jitter: 20 * ms}), Config{})
	all := s.run()
	logRun(t, s, all)
	require.Less(t, s.nodes[1].requests, 8*6000/50)
	require.LessOrEqual(t, quantile(all, 1), 60*ms+20*ms+2*ms)
}

func BenchmarkChain(b *testing.B) {
	for b.Loop() {
		c := chain(1, simHop{delay: 20 * ms, jitter: 30 * ms, loss: .05})
		c.frames = 300
		newSim(c, Config{}).run()
	}
}
