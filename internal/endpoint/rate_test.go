package endpoint

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRate(t *testing.T) {
	now := time.Now()
	r := rate{every: time.Second, burst: 3}
	for _, step := range []struct {
		after, wait time.Duration
	}{
		{0, 0},
		{0, 0},
		{0, 0}, // a burst
		{100 * time.Millisecond, 900 * time.Millisecond},
		{900 * time.Millisecond, 0},
		{0, time.Second},
		{time.Second, 0},
		{time.Hour, 0},
		{0, 0},
		{0, 0}, // a full bucket runs over
		{0, time.Second},
	} {
		now = now.Add(step.after)
		require.Equal(t, step.wait, r.wait(now))
		if step.wait == 0 {
			r.take(now)
		}
	}
}
