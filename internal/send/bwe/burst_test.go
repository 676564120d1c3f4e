package bwe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
)

// The queue that a keyframe makes is gone soon. It is no overuse, whether the keyframe
// leaves at once or at a rate above that of the path, and the estimate becomes what the
// path carries. More than that all the time is overuse.
func TestQueueOfABurst(t *testing.T) {
	const burst = 5
	for name, interval := range map[string]time.Duration{"at once": 0, "paced": 10 * ms} { // 4.8 Mbit/s
		t.Run(name, func(t *testing.T) {
			v := newViewer(Config{}, netem.Path{Delay: 50 * ms, Rate: 3e6, Queue: time.Second})
			v.run(5*time.Second, 1.2e6, 5)
			for range 5 {
				for range 80 / burst {
					v.wait(interval)
					for range burst {
						v.send()
					}
				}
				v.run(2*time.Second, 1.2e6, 5)
			}
			require.Zero(t, v.over)
			require.InDelta(t, 3e6, v.state().Bitrate, 1.2e6)
			v.run(2*time.Second, 4e6, 5)
			require.NotZero(t, v.over)
		})
	}
}

// wait reports for a while, in which nothing is sent.
func (v *viewer) wait(d time.Duration) {
	for end := v.now + d; v.now < end; {
		v.now = min(end, v.now+ms)
		v.report()
	}
}
