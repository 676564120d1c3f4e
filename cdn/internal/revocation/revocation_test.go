package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/internal/revocation"
)

var errGone = errors.New("gone")

func TestShared(t *testing.T) {
	var s revocation.Set[string]
	a, b, other := s.Context("a"), s.Context("a"), s.Context("b")
	require.Equal(t, a, b)
	told := make(chan struct{})
	stop := context.AfterFunc(b, func() { close(told) })
	defer stop()
	require.True(t, s.Revoke("a", errGone))
	<-told
	require.ErrorIs(t, context.Cause(a), errGone)
	require.NoError(t, other.Err())
	require.False(t, s.Revoke("a", errGone), "it is revoked")
	require.NoError(t, s.Context("a").Err(), "a later grant under the same key is another one")
	require.False(t, s.Revoke("never heard of", errGone))
	runtime.KeepAlive(other)
}

// An entry stays for as long as a session holds the context, or one made of it.
func TestCollected(t *testing.T) {
	var s revocation.Set[string]
	for i := range 10_000 {
		s.Context(fmt.Sprint(i))
	}
	held := s.Context("held")
	child, cancel := context.WithCancel(s.Context("by a child"))
	defer cancel()
	require.Eventually(t, func() bool { runtime.GC(); return s.Len() == 2 }, 10*time.Second, time.Millisecond)
	require.ElementsMatch(t, []string{"held", "by a child"}, s.Keys())
	require.True(t, s.Revoke("by a child", errGone))
	require.ErrorIs(t, context.Cause(child), errGone)
	require.True(t, s.Revoke("held", errGone))
	require.ErrorIs(t, context.Cause(held), errGone)
}

// A name is forgotten when its time has come, whether anybody asks or not.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n revocation.Names
		require.False(t, n.Has("a"))
		n.Add("a", time.Now().Add(time.Minute))
		n.Add("b", time.Time{})
		require.True(t, n.Has("a"))
		time.Sleep(time.Minute)
		require.False(t, n.Has("a"))
		require.True(t, n.Has("b"))
		for i := range 100_000 {
			n.Add(fmt.Sprint(i), time.Now().Add(time.Second))
			time.Sleep(time.Millisecond)
		}
		require.Less(t, n.Len(), 5000)
		require.True(t, n.Has("b"))
	})
}
