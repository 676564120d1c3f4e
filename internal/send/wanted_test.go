package send

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/sendtest"
)

// A layer that a node did not want for a while goes on where it stopped if there has been no
// keyframe since, and otherwise with that. No number is left out.
func TestWhatIsWantedAgainGoesOn(t *testing.T) {
	for name, keyframe := range map[string]bool{"where it stopped": false, "with the keyframe": true} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{}, func(v *viewer) {
				layer := v.layer
				v.Play(time.Second, 0)
				v.joinToCatchUp()
				v.Play(time.Second)
				stopped := v.layer.Next
				v.want(false)
				require.Zero(t, layer.Layer.Stats().Demand)
				count, clocks := len(v.Packets), len(v.clocks)
				if keyframe {
					v.Play(3*time.Second, stopped+45)
				} else {
					v.Play(3 * time.Second)
				}
				require.Len(t, v.Packets, count)
				require.Len(t, v.clocks, clocks, "no reports either")
				v.want(true)
				require.Equal(t, 1, layer.Layer.Stats().Demand)
				begun := time.Now()
				v.Play(2 * time.Second)
				first := v.Packets[count]
				if keyframe {
					require.Equal(t, stopped+45, first.Frame())
				} else {
					require.Equal(t, stopped, first.Frame())
				}
				require.Less(t, first.At.Sub(begun), sendtest.FrameTime)
				for i, p := range v.Packets[1:] {
					require.Equal(t, v.Packets[i].SequenceNumber+1, p.SequenceNumber)
					require.Equal(t, uint32(p.Frame()*3000), p.Timestamp)
				}
				require.Zero(t, v.Age(v.Packets[len(v.Packets)-1]))
				v.requireRepairs(len(v.Packets)-10, len(v.Packets))
				v.set.Close()
				v.want(false)
				require.Zero(t, layer.Layer.Stats().Demand)
			})
		})
	}
}

// Nothing is sent of a layer that is not wanted. A keyframe that was asked for meanwhile is
// asked for when the layer is wanted.
func TestWantedLater(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(time.Second, 0)
		v.joinToCatchUp()
		v.want(false)
		v.Packets = nil
		v.says(&rtcp.PictureLossIndication{MediaSSRC: 1})
		v.Play(time.Second)
		require.Empty(t, v.Packets)
		require.Zero(t, v.layer.Asked.Load())
		v.want(true)
		v.Play(time.Second)
		require.NotZero(t, v.layer.Asked.Load())
		require.NotEmpty(t, v.Packets)
	})
}

// A layer that is not wanted any more when it has just been started begins with the keyframe
// when it is wanted again.
func TestWantedAgainAheadOfTheFirstPacket(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(time.Second, 0)
		v.add(Config{Node: true, Start: Start{Mode: StartCatchUp}})
		v.set.Start()
		require.Equal(t, catchingUp, v.sender.mode)
		v.want(false)
		v.want(true)
		v.Play(time.Second)
		require.NotEmpty(t, v.Packets)
		require.Zero(t, v.Packets[0].Frame())
		v.requireNoGap()
		require.Equal(t, live, v.sender.mode)
	})
}
