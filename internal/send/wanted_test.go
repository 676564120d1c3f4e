package send

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func (s *show) want(yes bool) {
	s.set.change()
	s.sender.want(time.Now(), yes)
	s.set.mu.Unlock()
	s.serve()
}

// numbered returns the number of a packet's picture.
func numbered(p sentPacket) int {
	n := len(p.payload)
	return int(p.payload[n-2]) | int(p.payload[n-1])<<8
}

// What a node did not want for a while goes on where it stopped, if there has
// been no keyframe since, and otherwise with that; no number is left out.
func TestWhatIsWantedAgainGoesOn(t *testing.T) {
	for name, keyframe := range map[string]bool{"where it stopped": false, "with the keyframe": true} {
		t.Run(name, func(t *testing.T) {
			onShow(t, cdn.RingConfig{}, func(s *show) {
				layer := s.stream.Tracks()[0].Layers()[0]
				s.play(time.Second, 0)
				s.join(Config{Node: true}, true)
				s.play(time.Second)
				stopped := s.number
				s.want(false)
				require.Zero(t, layer.Stats().Demand)
				count, clocks := len(s.sent), len(s.clocks)
				if keyframe {
					s.play(3*time.Second, stopped+45)
				} else {
					s.play(3 * time.Second)
				}
				require.Len(t, s.sent, count)
				require.Len(t, s.clocks, clocks, "no reports either")
				s.want(true)
				require.Equal(t, 1, layer.Stats().Demand)
				begun := time.Now()
				s.play(2 * time.Second)
				first := s.sent[count]
				if keyframe {
					require.Equal(t, stopped+45, numbered(first))
				} else {
					require.Equal(t, stopped, numbered(first))
				}
				require.Less(t, first.at.Sub(begun), time.Second/picturesPerSecond)
				for i, p := range s.sent[1:] {
					require.Equal(t, s.sent[i].SequenceNumber+1, p.SequenceNumber)
					require.Equal(t, uint32(numbered(p)*3000), p.Timestamp)
				}
				require.Zero(t, s.behind(s.sent[len(s.sent)-1]))
				s.requireRepairs(len(s.sent)-10, len(s.sent))
				s.set.Close()
				s.want(false)
				require.Zero(t, layer.Stats().Demand)
			})
		})
	}
}

// Nothing is sent of a layer that was never wanted; a keyframe that was asked
// for meanwhile is asked for when it is.
func TestWantedLater(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(time.Second, 0)
		s.join(Config{Node: true}, true)
		s.want(false)
		s.sent = nil
		s.set.Take(time.Now(), []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: 1}})
		s.play(time.Second)
		require.Empty(t, s.sent)
		require.Zero(t, s.asked.Load())
		s.want(true)
		s.play(time.Second)
		require.NotZero(t, s.asked.Load())
		require.NotEmpty(t, s.sent)
	})
}
