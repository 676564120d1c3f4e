package send

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/sendtest"
)

// Sound that is left out since the node is behind leaves a gap in time and none in the
// numbers: the receiver must not ask for it.
func TestShedSoundLeavesNoGap(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.Opus(), FrameTime: 20 * ms}, func(v *viewer) {
		v.join(Config{})
		v.Play(200 * ms)
		v.Serve = func() {} // the viewer is not served for more than a second
		v.Play(1200 * ms)
		v.Serve = v.serve
		v.Play(200 * ms)
		require.Equal(t, uint64(1), v.set.Stats().Shed)
		require.Less(t, len(v.Packets), 25)
		v.requireNoGap()
		for i, p := range v.Packets[1:] {
			was := v.Packets[i]
			require.Equal(t, uint32(p.Frame()-was.Frame())*960, p.Timestamp-was.Timestamp, "time goes on")
		}
	})
}
