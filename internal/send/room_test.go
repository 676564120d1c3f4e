package send

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// A viewer by TCP whose video is left out for want of room is told so, and is told when
// video goes on.
func TestABacklogIsToldAndItsEnd(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		var told []Change
		room := true
		v.add(Config{OnAdapt: func(c Change) { told = append(told, c) }})
		v.set.Start()
		v.Serve = func() { v.set.ConsumeWhile(func() bool { return room }, time.Now(), v.Receiver) }
		play := func(d time.Duration) { v.Play(d, 30, 60, 90, 120, 150, 180, 210) }
		play(2 * time.Second)
		require.Empty(t, told)
		room = false
		play(3 * time.Second)
		room = true
		play(3 * time.Second)
		v.set.tellChanges()
		require.NotEmpty(t, told)
		for _, c := range told {
			require.Equal(t, allot.Backlog, c.Reason)
			require.Equal(t, c.Mode == allot.Paused, c.Lower)
		}
		require.Equal(t, allot.Paused, told[0].Mode)
		require.Equal(t, allot.Full, told[len(told)-1].Mode)
	})
}
