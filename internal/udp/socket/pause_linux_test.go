package socket

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What comes while the socket is paused wakes nobody, and is there all the same.
func TestRest(t *testing.T) {
	each(t, func(t *testing.T, s *Socket, to netip.AddrPort) {
		k := s.kernel
		if k == nil || k.poll == nil {
			require.False(t, s.Pause())
			return
		}
		send := func() {
			_, err := s.WriteToAddrPort([]byte("hello"), to)
			require.NoError(t, err)
		}
		wakes := func() bool {
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
		require.False(t, wakes())
		send()
		require.True(t, wakes())
		read(1)
		require.True(t, s.Pause())
		send()
		send()
		require.False(t, wakes())
		read(2)
		require.False(t, wakes())
		require.True(t, k.paused)
		for range 2*k.size + 1 {
			send()
		}
		size := k.size
		read(size)
		require.False(t, s.Pause(), "there is more")
		read(size + 1)
		require.True(t, s.Pause())
		send()
		require.NoError(t, k.resume())
		require.True(t, wakes(), "of what came before")
		read(1)
		require.False(t, wakes())
		send()
		require.True(t, wakes())
	})
}

// Go's poller does not know the socket: it would be woken by all that comes.
func TestPollerDoesNotKnowTheSocket(t *testing.T) {
	s, err := Open(&Conn{UDPConn: listen(t, "udp4", "127.0.0.1")})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	k := s.kernel
	var inode, ours uint64
	var st unix.Stat_t
	require.NoError(t, k.raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }))
	require.NoError(t, err)
	inode = st.Ino
	require.NoError(t, k.waits.Control(func(fd uintptr) { ours = uint64(fd) }))
	instances, err := filepath.Glob("/proc/self/fdinfo/*")
	require.NoError(t, err)
	var watchers []string
	for _, f := range instances {
		b, _ := os.ReadFile(f) // it may be closed by now
		if strings.Contains(string(b), fmt.Sprintf("ino:%x ", inode)) {
			watchers = append(watchers, filepath.Base(f))
		}
	}
	require.Equal(t, []string{fmt.Sprint(ours)}, watchers)
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
