package send

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// In a steady state next to nothing is looked at for a burst. What has to be done
// now and then is done all the same, and in time.
func TestSteadyState(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(time.Second, 0)
		s.join(Config{}, false)
		s.play(3*time.Second, 45)
		s.sent, s.clocks = nil, nil
		first := s.number
		for range 6 * picturesPerSecond {
			s.play(time.Second / picturesPerSecond)
			require.True(t, s.set.calm)
		}
		require.Equal(t, 2*(s.number-first), len(s.sent))
		for i := range s.sent[1:] {
			require.Equal(t, s.sent[i].SequenceNumber+1, s.sent[i+1].SequenceNumber)
		}
		require.Len(t, s.clocks, 6, "sender reports")

		was := len(s.sent)
		s.set.change()
		s.sender.pause(time.Now(), time.Now(), time.Now())
		s.set.mu.Unlock()
		s.play(time.Second)
		require.Equal(t, was, len(s.sent), "it waits for a keyframe")
		s.play(time.Second, s.number)
		require.Greater(t, len(s.sent), was)
	})
}

// What was sent in a steady state is known before anything is judged by it.
func TestSteadyStateIsAccountedFor(t *testing.T) {
	onShow(t, cdn.RingConfig{}, func(s *show) {
		s.play(time.Second, 0)
		s.join(Config{}, false)
		s.play(3*time.Second, 45)
		for s.sender.unaccounted == 0 {
			s.play(time.Second / picturesPerSecond)
		}
		s.set.Hear(time.Now(), nil)
		require.Zero(t, s.sender.unaccounted)
		require.False(t, s.set.calm)
	})
}
