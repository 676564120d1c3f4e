package socket

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What comes while the socket is at rest wakes nobody, and is there all the same.
func TestRest(t *testing.T) {
	both(t, func(t *testing.T, s Socket, to netip.AddrPort) {
		k, ok := s.(*kernel)
		if !ok {
			require.False(t, s.Rest())
			return
		}
		send := func() {
			_, err := s.WriteToUDPAddrPort([]byte("hello"), to)
			require.NoError(t, err)
		}
		rouses := func() bool {
			var n int
			require.NoError(t, k.waits.Control(func(fd uintptr) {
				n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			}))
			return n > 0
		}
		read := func(want int) {
			for n := 0; n < want; {
				batch, err := s.ReadBatch()
				require.NoError(t, err)
				n += len(batch)
			}
		}
		require.False(t, rouses())
		send()
		require.True(t, rouses())
		read(1)
		require.True(t, s.Rest())
		send()
		send()
		require.False(t, rouses())
		read(2)
		require.False(t, rouses())
		require.True(t, k.resting)
		send()
		require.NoError(t, k.rise())
		require.True(t, rouses(), "of what came before")
		read(1)
		require.False(t, rouses())
		send()
		require.True(t, rouses())
	})
}

// Buffers are made ready for about as many datagrams as come.
func TestRoomFollowsWhatComes(t *testing.T) {
	k := &kernel{size: leastBatch}
	for _, n := range []int{2, 4, 8, 16, 32, 32} {
		k.expect(n)
	}
	require.Equal(t, batchSize, k.size)
	for range 10 {
		k.expect(1)
	}
	require.Equal(t, leastBatch, k.size)
}
