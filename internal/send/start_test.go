package send

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// fps is how many frames a second there are.
const fps = int(time.Second / sendtest.FrameTime)

// If the publisher answers no request for a keyframe, a viewer begins at once all the same.
// It is live after a third of the time that it missed.
func TestCatchUp(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(6*time.Second, 0)
		v.join(Config{})
		require.Len(t, v.Packets, 3, "the keyframe comes at once, and nothing else yet")
		require.Equal(t, v.joined, v.Packets[0].At)
		require.NotZero(t, v.layer.Asked.Load(), "a keyframe would be welcome")
		v.Play(6 * time.Second)
		v.requireLive()
		require.InDelta(t, 2, v.liveAfter().Seconds(), 0.1)
		require.Equal(t, 2*361+1, len(v.Packets), "everything came")
		require.Equal(t, live, v.sender.mode, "it has caught up")
		for i := 1; i < 300; i++ { // four times the video's own rate, never more
			require.LessOrEqual(t, v.Packets[i].At.Add(-34*ms).Sub(v.joined), time.Duration(i)*time.Second/240+34*ms)
		}
		v.requireRepairs(len(v.Packets)-90, len(v.Packets))
	})
}

// What was sent faster than live is repaired with the timestamp that it was sent with.
func TestRepairsOfWhatWasCaughtUpWith(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(3*time.Second, 0)
		v.join(Config{})
		v.Play(500 * ms)
		v.requireRepairs(0, 30)
		v.Play(2 * time.Second)
		v.requireRepairs(0, 90)
	})
}

// A keyframe that comes while a viewer catches up ends that.
func TestCatchUpSkips(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(6*time.Second, 0)
		v.join(Config{})
		v.Play(2*time.Second, 190)
		v.requireLive()
		require.Less(t, v.liveAfter(), 400*ms)
	})
}

// A keyframe that is not old is not asked for: the next one is near.
func TestCatchUpAsksForNothing(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(1900*ms, 0)
		v.join(Config{})
		v.Play(2*time.Second, 60)
		v.requireLive()
		require.Zero(t, v.layer.Asked.Load())
	})
}

func TestStill(t *testing.T) {
	for name, c := range map[string]struct {
		start Start
		ring  cdn.RingConfig
	}{
		"chosen":                {start: Start{Mode: StartSnapshot}},
		"too much followed":     {start: Start{Bytes: 1000}},
		"not all is here":       {ring: cdn.RingConfig{Packets: 256}},
		"it was too long ago":   {ring: cdn.RingConfig{GOP: time.Second}},
		"and that does no harm": {ring: cdn.RingConfig{GOP: time.Second}, start: Start{Mode: StartSnapshot, Age: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{Ring: c.ring}, func(v *viewer) {
				v.Play(6*time.Second, 0)
				v.join(Config{Start: c.start})
				require.Len(t, v.Packets, 3, "the keyframe, at once")
				require.NotZero(t, v.layer.Asked.Load())
				v.requireRepairs(0, 3)
				v.Play(4*time.Second, 300)
				require.Equal(t, 3*3+3, len(v.Packets)-2*(v.layer.Next-301), "three times the frame, and then what is live")
				v.requireLive()
			})
		})
	}
}

// A viewer that does not want anything old, and one for which there is nothing young enough,
// wait for a keyframe.
func TestAsk(t *testing.T) {
	for name, c := range map[string]Start{"chosen": {Mode: StartAsk}, "too old": {Age: 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			withViewer(t, sendtest.Config{}, func(v *viewer) {
				v.Play(6*time.Second, 0)
				v.join(Config{Start: c})
				v.Play(time.Second)
				require.Empty(t, v.Packets)
				require.NotZero(t, v.layer.Asked.Load())
				v.Play(time.Second, v.layer.Next)
				v.requireLive()
			})
		})
	}
}

// The parameter sets of a keyframe that came without them are sent ahead of it.
func TestParameterSetsComeFirst(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.layer.Packet(false, 0x67, 1)
		v.layer.Packet(true, 0x68, 1)
		v.layer.Next++
		v.Play(6 * time.Second)
		time.Sleep(time.Until(v.Begun.Add(time.Duration(v.layer.Next) * sendtest.FrameTime)))
		v.layer.Packet(false, 0x65, 0x80)
		v.layer.Packet(true, 0x65, 0x10)
		v.layer.Next++
		v.Play(7 * time.Second)
		v.join(Config{})
		var kinds []byte
		for _, p := range v.Packets {
			kinds = append(kinds, p.Payload[0]&0x1f)
			require.Equal(t, v.Packets[0].Timestamp, p.Timestamp)
		}
		require.Equal(t, []byte{7, 8, 5, 5}, kinds)
		v.Play(4 * time.Second)
		v.requireLive()
		v.requireRepairs(0, 4)
	})
}

// The first viewer of a node is sent what the node itself catches up with. No delay remains
// from that either.
func TestBurstFromUpstream(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.join(Config{})
		v.Begun = v.Begun.Add(-5 * time.Second) // of which this node knows nothing yet
		for i := range 5 * fps * 8 / 7 {
			v.layer.Frame(i == 0)
			v.serve()
			time.Sleep(sendtest.FrameTime / 8)
		}
		v.Play(5 * time.Second)
		require.InDelta(t, 0, v.late(v.Packets[len(v.Packets)-1]).Seconds(), 0.15)
		v.requireLive()
	})
}

// When the publisher's time jumps, or stands still, a viewer does not wait for media that do
// not exist.
func TestCatchUpWithPauses(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(time.Second, 0)
		v.join(Config{})
		for range 2 { // while it catches up, and when it just has
			v.Play(100 * ms)
			v.layer.Next += 3600 * fps
			v.Begun = v.Begun.Add(-time.Hour)
			v.Play(400 * ms)
		}
		require.Equal(t, 2*(v.layer.Next-2*3600*fps)+1, len(v.Packets), "all that came")
	})
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(3*time.Second, 0)
		time.Sleep(2 * time.Second) // as a screen that nothing happens on
		v.join(Config{})
		require.Len(t, v.Packets, 2*91+1, "the frame as it is now")
	})
}

// A viewer that joins while the publisher pauses is sent what follows at once, though more of
// the publisher's time has passed than of its own: nothing is held back, nor left out as if
// the node were behind.
func TestJoiningInAPause(t *testing.T) {
	keyframes := []int{0, 60, 120, 180, 240, 300, 360, 420}
	for _, before := range []int{15, 30, 45, 59, 80} { // frames
		for _, joins := range []time.Duration{100 * ms, time.Second, 3 * time.Second, 6 * time.Second} {
			for _, lasts := range []time.Duration{time.Second, 3 * time.Second, 6 * time.Second} {
				t.Run(fmt.Sprint(before, joins, lasts), func(t *testing.T) {
					withViewer(t, sendtest.Config{}, func(v *viewer) {
						v.Play(time.Duration(before)*sendtest.FrameTime, keyframes...)
						time.Sleep(joins)
						v.join(Config{})
						time.Sleep(lasts)
						v.layer.Next += int((joins + lasts) / sendtest.FrameTime)
						number := v.layer.Next
						v.Play(1900*ms, keyframes...)
						require.Zero(v, v.set.Stats().Shed)
						var on []sendtest.Packet // what was published after the pause
						for _, p := range v.Packets {
							if p.Frame() >= number {
								on = append(on, p)
							}
						}
						require.GreaterOrEqual(v, len(on), 2*(v.layer.Next-number))
						for i, p := range on {
							require.Zero(v, v.Age(p), "packet %d", i)
							require.InDelta(v, 0, v.late(p).Seconds(), 0.3, "packet %d", i)
						}
					})
				})
			}
		}
	}
}

// A node that wants to catch up is sent everything with the publisher's timestamps. A node
// that does not say so waits for a keyframe, as it must to go on with a stream.
func TestNodesCatchUp(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(6*time.Second, 0)
		v.join(Config{Node: true})
		v.Play(100 * ms)
		require.Empty(t, v.Packets)
		v.joinToCatchUp()
		require.Len(t, v.Packets, 3)
		v.Play(2 * time.Second)
		for _, p := range v.Packets {
			require.Equal(t, uint32(p.Frame())*3000, p.Timestamp)
		}
		require.InDelta(t, 6./7, v.liveAfter().Seconds(), 0.1)
	})
}

// A viewer that catches up is not late, however old its media are. A node that falls behind
// sheds it like any other.
func TestSheddingWhileCatchingUp(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(6*time.Second, 0)
		v.join(Config{})
		v.Play(time.Second)
		require.Zero(t, v.set.Stats().Shed)
		time.Sleep(1100 * ms)
		v.Begun = v.Begun.Add(1100 * ms)
		v.serve()
		require.NotZero(t, v.set.Stats().Shed)
		require.Equal(t, waiting, v.sender.mode)
		count := len(v.Packets)
		v.Play(time.Second)
		require.Len(t, v.Packets, count, "nothing old, until a keyframe")
		v.Play(time.Second, v.layer.Next)
		last := v.Packets[len(v.Packets)-1]
		require.Zero(t, v.Age(last))
		require.InDelta(t, 0, v.late(last).Seconds(), 0.15)
	})
}

// A viewer that is given another layer ahead of its first packet begins with that one's
// keyframe, and is sent all that followed.
func TestAnotherLayerAheadOfTheFirstPacket(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("l", "h")}, func(v *viewer) {
		v.Layers[0].Off = true // nothing has come of it yet
		v.Play(1900*ms, 0, 56)
		v.join(Config{Layer: "h"})
		v.Play(3 * time.Second)
		require.Equal(t, "h", v.sender.feed.layer.Name())
		require.NotEmpty(t, v.Packets)
		require.Equal(t, 56, v.Packets[0].Frame())
		require.Len(t, v.Packets, v.Layers[1].Next-56)
		v.requireLive()
	})
}
