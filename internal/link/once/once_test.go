package once

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func key(n int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

func TestWhatWasUsedIsRefused(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := &Set{For: time.Minute, Max: 100}
	require.True(t, s.Take(now, key(1)))
	require.False(t, s.Take(now, key(1)))
	require.True(t, s.Take(now.Add(30*time.Second), key(2)))
	require.False(t, s.Take(now.Add(time.Minute), key(1)))
	require.True(t, s.Take(now.Add(time.Minute+1), key(1)), "it is forgotten")
	require.False(t, s.Take(now.Add(time.Minute+1), key(2)))
	require.Equal(t, 2, s.Len())
}

// Memory is bounded, and what is forgotten first is the oldest.
func TestASetIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := &Set{For: time.Hour, Max: 100}
	for n := range 10_000 {
		require.True(t, s.Take(now, key(n)))
		require.False(t, s.Take(now, key(n)))
		require.False(t, s.Take(now, key(max(0, n-98))))
		require.LessOrEqual(t, s.Len(), 100)
		require.LessOrEqual(t, len(s.fifo), 202)
	}
	require.True(t, s.Take(now.Add(2*time.Hour), key(0)))
	require.Equal(t, 1, s.Len())
	require.Len(t, s.fifo, 1)
}
