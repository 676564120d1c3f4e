package socket

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Datagrams that are read together have the times at which each of them came.
func TestArrivals(t *testing.T) {
	for name, wrap := range map[string]func(*net.UDPConn) net.PacketConn{
		"own":    func(c *net.UDPConn) net.PacketConn { return &Conn{UDPConn: c} },
		"shared": func(c *net.UDPConn) net.PacketConn { return c },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(wrap(listen(t, "udp4", "127.0.0.1")))
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			conn, err := net.DialUDP("udp4", nil, s.LocalAddr().(*net.UDPAddr))
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()
			warmUp(t, s, conn)
			const gap = 100 * time.Millisecond // a busy machine may take some of it for a datagram
			var sent, gone []time.Time         // just ahead of a write, and just after it
			for range 3 {
				sent = append(sent, time.Now())
				_, err := conn.Write([]byte{1})
				require.NoError(t, err)
				gone = append(gone, time.Now())
				time.Sleep(gap)
			}
			var all []Datagram
			for len(all) < len(sent) {
				batch, err := s.ReadBatch()
				require.NoError(t, err)
				for _, d := range batch {
					all = append(all, Datagram{From: d.From, Arrived: d.Arrived})
				}
			}
			require.Equal(t, conn.LocalAddr().(*net.UDPAddr).AddrPort(), all[0].From)
			for i, d := range all {
				require.False(t, d.Arrived.IsZero())
				require.Greater(t, d.Arrived.Sub(sent[i]), -gap/2, "datagram %d", i)
				require.Less(t, d.Arrived.Sub(gone[i]), gap/2, "datagram %d", i)
			}
		})
	}
}

// warmUp waits until the kernel notes when datagrams arrive. It begins to at some time
// after the socket has asked for it; until then the time is that of the read.
func warmUp(t *testing.T, s *Socket, conn *net.UDPConn) {
	for range 1000 {
		_, err := conn.Write([]byte{0})
		require.NoError(t, err)
		gone := time.Now()
		time.Sleep(5 * time.Millisecond)
		batch, err := s.ReadBatch()
		require.NoError(t, err)
		if batch[len(batch)-1].Arrived.Before(gone.Add(2 * time.Millisecond)) {
			return
		}
	}
	t.Fatal("the kernel does not note when datagrams arrive")
}

// What is no control message with a time has none.
func TestBrokenStamps(t *testing.T) {
	message := make([]byte, unix.CmsgSpace(16))
	require.True(t, arrival(nil).IsZero())
	require.True(t, arrival(message).IsZero())
	require.True(t, arrival(message[:5]).IsZero())
	require.True(t, timespec(message[:7]).IsZero())
	require.Equal(t, int64(0), timespec(message[:16]).Unix())
}
