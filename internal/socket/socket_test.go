package socket

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func listen(t *testing.T, network, ip string) *net.UDPConn {
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Skipf("no %s here: %v", ip, err)
	}
	return conn
}

// virtual hides what kind of connection it is.
type virtual struct{ net.PacketConn }

// held is a connection that somebody has hold of.
type held struct{ *net.UDPConn }

// both runs a test for the kernel's sockets, of several kinds, and for a virtual
// network's.
func both(t *testing.T, test func(t *testing.T, s Socket, to netip.AddrPort)) {
	for name, tc := range map[string]struct{ network, bind, reach string }{
		"IPv4": {"udp4", "127.0.0.1", "127.0.0.1"}, "IPv6": {"udp6", "::1", "::1"},
		"IPv4 of both": {"udp", "::", "127.0.0.1"}, "IPv6 of both": {"udp", "::", "::1"},
		"virtual": {"udp4", "127.0.0.1", "127.0.0.1"},
		"shared":  {"udp4", "127.0.0.1", "127.0.0.1"}, "IPv4 of a shared one of both": {"udp", "::", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			var conn net.PacketConn = listen(t, tc.network, tc.bind)
			open := Take
			switch {
			case name == "virtual":
				conn = virtual{conn}
			case strings.Contains(name, "shared"):
				conn, open = held{conn.(*net.UDPConn)}, Share
			}
			s, err := open(conn)
			require.NoError(t, err)
			t.Cleanup(func() { _ = s.Close() })
			port := s.LocalAddr().(*net.UDPAddr).Port
			test(t, s, netip.AddrPortFrom(netip.MustParseAddr(tc.reach), uint16(port)))
		})
	}
}

// texts reads until there are n datagrams, all from one address.
func texts(t *testing.T, s Socket, n int, from netip.AddrPort) (all []string) {
	for len(all) < n {
		batch, err := s.ReadBatch()
		require.NoError(t, err)
		require.NotEmpty(t, batch)
		for _, d := range batch {
			require.Equal(t, from, d.From)
			all = append(all, string(d.Bytes))
		}
	}
	return all
}

func TestDatagramsComeInOrderAndWhole(t *testing.T) {
	both(t, func(t *testing.T, s Socket, to netip.AddrPort) {
		other, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		require.NoError(t, err)
		defer func() { require.NoError(t, other.Close()) }()
		here := other.LocalAddr().(*net.UDPAddr).AddrPort()
		here = netip.AddrPortFrom(here.Addr().Unmap(), here.Port())
		for _, n := range []int{1, 3, 2*batchSize + 1, 1, batchSize} {
			var want []string
			for i := range n {
				want = append(want, fmt.Sprint(i, ", ", n))
				_, err := other.Write([]byte(want[i]))
				require.NoError(t, err)
			}
			require.Equal(t, want, texts(t, s, n, here))
		}
		_, err = s.WriteToUDPAddrPort([]byte("back"), here)
		require.NoError(t, err)
		_, err = s.WriteTo([]byte("again"), net.UDPAddrFromAddrPort(here))
		require.NoError(t, err)
		buf := make([]byte, 10)
		for _, want := range []string{"back", "again"} {
			n, err := other.Read(buf)
			require.NoError(t, err)
			require.Equal(t, want, string(buf[:n]))
		}
	})
}

// Whoever waits for a datagram gets it, also one that came while the socket was
// at rest, and one that comes after that.
func TestWaiting(t *testing.T) {
	both(t, func(t *testing.T, s Socket, to netip.AddrPort) {
		var wg sync.WaitGroup
		in := make(chan string)
		wg.Go(func() {
			defer close(in)
			for i := 0; ; i++ {
				batch, err := s.ReadBatch()
				if err != nil {
					return
				}
				for _, d := range batch {
					in <- string(d.Bytes)
				}
				if i%2 == 0 {
					s.Rest()
				}
			}
		})
		for i := range 50 {
			if i%5 == 0 {
				time.Sleep(time.Millisecond) // most likely it waits again
			}
			_, err := s.WriteToUDPAddrPort([]byte(fmt.Sprint(i)), to)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), <-in)
		}
		require.NoError(t, s.Close())
		wg.Wait()
	})
}

func TestClose(t *testing.T) {
	both(t, func(t *testing.T, s Socket, to netip.AddrPort) {
		failed := make(chan error)
		go func() {
			_, err := s.ReadBatch()
			failed <- err
		}()
		time.Sleep(time.Millisecond)
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-failed, net.ErrClosed)
		_, err := s.ReadBatch()
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = s.WriteToUDPAddrPort([]byte("late"), to)
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, s.Close(), net.ErrClosed)
		again, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(to))
		require.NoError(t, err, "the port is free")
		require.NoError(t, again.Close())
	})
}

// Who has hold of a shared socket can close it, and with it all that is done.
func TestASharedSocketIsClosedFromElsewhere(t *testing.T) {
	conn := listen(t, "udp4", "127.0.0.1")
	s, err := Share(held{conn})
	require.NoError(t, err)
	at := conn.LocalAddr().(*net.UDPAddr)
	failed := make(chan error)
	go func() {
		_, err := s.ReadBatch()
		failed <- err
	}()
	time.Sleep(time.Millisecond)
	require.NoError(t, conn.Close())
	require.ErrorIs(t, <-failed, net.ErrClosed)
	_, err = s.WriteToUDPAddrPort([]byte("late"), at.AddrPort())
	require.ErrorIs(t, err, net.ErrClosed)
	again, err := net.ListenUDP("udp4", at)
	require.NoError(t, err, "the port is free")
	require.NoError(t, again.Close())
	require.ErrorIs(t, s.Close(), net.ErrClosed)
}

// What has come to a shared socket is read with one call.
func TestASharedSocketIsReadInBatches(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has such a call")
	}
	conn := listen(t, "udp4", "127.0.0.1")
	s, err := Share(held{conn})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	const n = 8
	for calls := range 3 {
		for range n {
			_, err := s.WriteToUDPAddrPort([]byte("hello"), conn.LocalAddr().(*net.UDPAddr).AddrPort())
			require.NoError(t, err)
		}
		most := 0
		for got := 0; got < n; {
			batch, err := s.ReadBatch()
			require.NoError(t, err)
			got += len(batch)
			most = max(most, len(batch))
		}
		if calls == 2 { // it has room for as many as come by now
			require.Equal(t, n, most)
		}
	}
}

func TestOneDatagramDoesNotAllocate(t *testing.T) {
	both(t, func(t *testing.T, s Socket, to netip.AddrPort) {
		if _, ok := s.(*plain); ok {
			t.Skip("a virtual network has its own way")
		}
		b := slices.Repeat([]byte{1}, 1200)
		require.Zero(t, testing.AllocsPerRun(20, func() {
			if _, err := s.WriteToUDPAddrPort(b, to); err != nil {
				t.Error(err)
			}
		}))
	})
}
