package budget

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who asks without end gets the burst, and then one keyframe each RequestEvery; who
// asks now and then gets each at once.
func TestRequests(t *testing.T) {
	const rtt = 50 * time.Millisecond
	for name, c := range map[string]struct {
		every   time.Duration // between two requests
		answer  time.Duration // until the keyframe comes
		granted int           // in a minute, at most
		prompt  bool          // each is granted when it comes
	}{
		"without end":              {every: 10 * time.Millisecond, answer: 60 * time.Millisecond, granted: RequestBurst + 20},
		"without end, no keyframe": {every: 10 * time.Millisecond, answer: time.Hour, granted: RequestBurst + 20},
		"at each keyframe":         {every: 200 * time.Millisecond, answer: 60 * time.Millisecond, granted: RequestBurst + 20},
		"each 3 s":                 {every: 3 * time.Second, answer: 60 * time.Millisecond, granted: 20, prompt: true},
		"each 10 s":                {every: 10 * time.Second, answer: 60 * time.Millisecond, granted: 6, prompt: true},
	} {
		t.Run(name, func(t *testing.T) {
			var r Requests
			begun := time.Unix(1_800_000_000, 0)
			granted, asked := 0, 0
			var keyframe time.Time
			grant := func(now time.Time) {
				granted++
				keyframe = now.Add(c.answer)
			}
			for d := time.Duration(0); d < time.Minute; d += 10 * time.Millisecond {
				now := begun.Add(d)
				if !keyframe.IsZero() && !now.Before(keyframe) {
					r.Keyframe(now)
					keyframe = time.Time{}
				}
				if d%c.every == 0 {
					asked++
					if r.Ask(now, rtt) {
						grant(now)
					}
				}
				if r.Take(now) {
					grant(now)
				}
			}
			require.LessOrEqual(t, granted, c.granted)
			require.Greater(t, granted, c.granted/2)
			if c.prompt {
				require.Equal(t, asked, granted)
				require.Zero(t, r.Denied())
			}
		})
	}
}

// The first of a burst are granted when they come; one that is not is kept, unless
// a keyframe comes anyway.
func TestRequestsThatAreNotGrantedAreKept(t *testing.T) {
	var r Requests
	now := time.Unix(1_800_000_000, 0)
	for range RequestBurst {
		require.True(t, r.Ask(now, 0))
		now = now.Add(100 * time.Millisecond)
		r.Keyframe(now)
	}
	require.False(t, r.Ask(now, 0))
	require.False(t, r.Take(now))
	due := r.Due()
	require.False(t, due.IsZero())
	require.True(t, r.Take(due))
	require.False(t, r.Take(due), "once")
	require.True(t, r.Due().IsZero())
	r.Keyframe(due)
	require.False(t, r.Ask(due, 0))
	r.Keyframe(due.Add(time.Second)) // that somebody else has asked for
	require.False(t, r.Take(due.Add(RequestEvery)))
}

// A request that crosses the keyframe on its way is not about that one.
func TestRequestsThatCrossTheKeyframe(t *testing.T) {
	var r Requests
	now := time.Unix(1_800_000_000, 0)
	require.True(t, r.Ask(now, 100*time.Millisecond))
	require.False(t, r.Ask(now.Add(50*time.Millisecond), 100*time.Millisecond), "it is awaited")
	r.Keyframe(now.Add(60 * time.Millisecond))
	require.False(t, r.Ask(now.Add(150*time.Millisecond), 100*time.Millisecond), "it is on the way")
	require.True(t, r.Ask(now.Add(161*time.Millisecond), 100*time.Millisecond), "it was lost")
}
