package send

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// Video leaves while a probe is under way, whose rate is above that of the path: padding
// does not hold it up. With it, a probe of a viewer on its lowest layer held up all video
// until the probe was over.
func TestPaddingDoesNotHoldVideoUp(t *testing.T) {
	withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
		v.join(Config{})
		v.play(4*time.Second, map[int]int{0: 9}) // the bitrate is known, and nothing waits
		v.set.change()
		v.set.path.estimator = bwe.New(bwe.Config{Start: 200e3}, time.Now())
		v.set.startProbe(time.Now(), allot.Choice{Probe: bwe.Probe{ID: 1, Rate: 8e6, Duration: 600 * ms}})
		v.set.mu.Unlock()
		v.sent = nil
		begun := time.Now()
		v.play(600*ms, nil)
		padding := 0
		for _, d := range v.sent {
			if d.SSRC == 11 || d.SSRC == 12 {
				padding++
			}
		}
		require.Greater(t, padding, 100)
		all := v.of(v.video)
		require.Equal(t, 18*9, len(all))
		for i, d := range all {
			due := begun.Add(time.Duration(i/9) * sendtest.FrameTime)
			require.LessOrEqual(t, d.at.Sub(due), sendtest.FrameTime, "packet %d", i)
		}
	})
}

// A repair, or sound, that leaves just ahead of a burst takes none of the packets of which
// the burst leaves at once.
func TestBurstBehindARepair(t *testing.T) {
	begun := time.Unix(1000, 0)
	for name, ahead := range map[string]func(p *pacer, now time.Time){
		"repair": func(p *pacer, now time.Time) { p.repaired(now, pacedPacket) },
		"sound":  func(p *pacer, now time.Time) { p.sent(now, 100, true) },
	} {
		t.Run(name, func(t *testing.T) {
			var p pacer
			p.setRate(begun, 1e6, burstPackets)
			for now := begun; now.Before(begun.Add(10 * time.Second)); now = now.Add(time.Second) {
				ahead(&p, now)
				left := 0
				for ; p.open(now); left++ {
					p.sent(now, pacedPacket, false)
				}
				require.Equal(t, burstPackets, left)
			}
		})
	}
}

// A repair takes its share of the path while a burst waits, of one group at the most.
func TestRepairsWhileABurstWaits(t *testing.T) {
	for repairs, open := range map[int]bool{0: true, 1: false, 100: false} {
		begun := time.Unix(1000, 0)
		var p pacer
		p.setRate(begun, 1e6, burstPackets)
		for p.open(begun) {
			p.sent(begun, pacedPacket, false)
		}
		p.waits = true
		due := p.dueAt()
		for range repairs {
			p.repaired(due, pacedPacket)
		}
		p.due = 0
		require.Equal(t, open, p.open(due), repairs)
		require.True(t, p.open(due.Add(groupTime)), repairs)
	}
}
