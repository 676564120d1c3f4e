package resource

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// over is a session that has ended.
type over struct{ signal.Session }

func (over) ID() string { return "id" }
func (over) Err() error { return cdn.ErrPeerLost }
func (over) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// An ended session is let go though nobody asks for it, and why it ended is
// known for a while; then no timer is left.
func TestEndedSessionsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		path, ok := table.add("/whip/live/-/", &entry{Session: over{}})
		require.True(t, ok)
		time.Sleep(sweepEvery + time.Millisecond)
		synctest.Wait()
		require.Empty(t, table.sessions)
		session, gone := table.find(path)
		require.Nil(t, session)
		require.ErrorIs(t, gone, cdn.ErrPeerLost)
		time.Sleep(remember + sweepEvery)
		synctest.Wait()
		require.Empty(t, table.ended)
		require.Nil(t, table.sweeper)
		require.NoError(t, table.close())
		_, ok = table.add("/whip/live/-/", &entry{Session: over{}})
		require.False(t, ok)
	})
}

// A slow session takes a second to close, and fails.
type slow struct{ signal.Session }

var errSlow = errors.New("slow")

func (slow) ID() string { return "slow" }
func (slow) Close() error {
	time.Sleep(time.Second)
	return errSlow
}

// Whoever closes a server hears how that went once its sessions have ended, though somebody
// else began to close it.
func TestEveryCloseOfATableWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		_, ok := table.add("/whip/live/-/", &entry{Session: slow{}})
		require.True(t, ok)
		first, began := make(chan error, 1), time.Now()
		go func() { first <- table.close() }()
		synctest.Wait()
		require.ErrorIs(t, table.close(), errSlow)
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, <-first, errSlow)
	})
}
