package jitter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSource(t *testing.T) {
	a, again, b := New("a"), New("a"), New("b")
	differ := false
	for range 100 {
		x := a.Below(time.Second)
		require.Equal(t, x, again.Below(time.Second))
		require.GreaterOrEqual(t, x, time.Duration(0))
		require.Less(t, x, time.Second)
		differ = differ || x != b.Below(time.Second)
	}
	require.True(t, differ)
	require.Zero(t, a.Below(-time.Second))
}
