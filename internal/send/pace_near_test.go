package send

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
)

// A keyframe leaves at once for a viewer that is near, unless the start rate is the user's.
func TestBurstsForANearViewer(t *testing.T) {
	for name, c := range map[string]struct {
		near   bool
		config Config
		atOnce int
	}{
		"near":                {true, Config{NearAtOnce: true}, 120},
		"not near":            {false, Config{NearAtOnce: true}, burstPackets},
		"the user's own rate": {true, Config{StartRate: 5e6}, burstPackets},
	} {
		t.Run(name, func(t *testing.T) {
			withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
				v.near = c.near
				v.join(c.config)
				v.video.publish(120, keyframe...)
				synctest.Wait()
				v.set.mu.Lock()
				defer v.set.mu.Unlock()
				require.Len(t, v.sent, c.atOnce)
			})
		})
	}
}

// A near viewer whose path is found to be narrow is paced from then on.
func TestANearPathThatIsNarrow(t *testing.T) {
	withNarrowViewer(t, netem.Path{}, func(v *narrowViewer) {
		s := &script{next: allot.Choice{Rung: 99, Reason: allot.Start}}
		v.near = true
		v.join(Config{NearAtOnce: true, Policy: func() allot.Policy { return s }})
		v.play(2*time.Second, map[int]int{0: 9})
		require.Zero(t, v.set.pace.perByte)
		v.set.change()
		s.next = allot.Choice{Rung: 1, Reason: allot.Congestion}
		v.set.mu.Unlock()
		v.play(time.Second, nil)
		v.set.change()
		s.next = allot.Choice{Rung: 99, Reason: allot.Room}
		v.set.mu.Unlock()
		v.play(time.Second, map[int]int{15: 9})
		require.Equal(t, allot.Full, v.set.adaptation.sent.Mode)
		require.NotZero(t, v.set.pace.perByte)
	})
}
