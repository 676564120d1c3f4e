package nack

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func share(sorted []time.Duration, bar time.Duration) float64 {
	n := 0
	for _, d := range sorted {
		if d <= bar {
			n++
		}
	}
	return float64(n) / float64(len(sorted))
}

func TestChain(t *testing.T) {
	for seed := range uint64(4) {
		s := newSim(simConfig{hops: []simHop{{20 * ms, 30 * ms, .05}, {30 * ms, 30 * ms, .05}, {40 * ms, 30 * ms, .05}},
			frames: 9000, packets: 8, every: time.Second / 30, spacing: ms / 4, seed: seed}, Config{})
		all := s.run()
		bar := 90*ms + 2*180*ms + 60*ms
		t.Logf("seed %d: p50 %v p90 %v p99 %v p99.9 %v max %v; in %v: %.4f; in 1 s: %.5f", seed, at(all, .5), at(all, .9), at(all, .99), at(all, .999), at(all, 1), bar, share(all, bar), share(all, time.Second))
		for i, n := range s.nodes {
			if n.gen != nil {
				t.Logf("  hop %d: lost %d requests %d dup %d rtt %v var %v wait %v repairs %d", i, n.up.lost, n.requests, n.duplicates, n.gen.RTT(), n.gen.rtt.rttvar, n.gen.reorder.wait(s.now, n.gen.RTT()), n.up.repairs)
			}
		}
	}
}
