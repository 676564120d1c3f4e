package socket

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
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

// embedding has a connection's methods, and nothing of its own.
type embedding struct{ *net.UDPConn }

// A gate is an [Interceptor] that, while it is shut, drops what it sees.
type gate struct {
	net.PacketConn
	shut         atomic.Bool
	asked        atomic.Int64 // times that it said that it is shut
	reads, write atomic.Int64
}

func (g *gate) Underlying() net.PacketConn { return g.PacketConn }

func (g *gate) Intercepts() bool {
	shut := g.shut.Load()
	if shut {
		g.asked.Add(1)
	}
	return shut
}

func (g *gate) set(shut bool) {
	g.shut.Store(shut)
	_ = g.SetReadDeadline(time.Now())
}

func (g *gate) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := g.PacketConn.ReadFrom(b)
		if err != nil || !g.shut.Load() {
			return n, from, err
		}
		g.reads.Add(1)
	}
}

func (g *gate) WriteTo(b []byte, _ net.Addr) (int, error) {
	g.write.Add(1)
	return len(b), nil
}

// each runs a test for sockets of all kinds: those of the system's that nobody else
// has, those that somebody has and may close, and one of a virtual network.
func each(t *testing.T, test func(t *testing.T, s *Socket, to netip.AddrPort)) {
	own := func(c *net.UDPConn) net.PacketConn { return &Conn{UDPConn: c} }
	shared := func(c *net.UDPConn) net.PacketConn { return c }
	for name, tc := range map[string]struct {
		network, bind, reach string
		wrap                 func(*net.UDPConn) net.PacketConn
	}{
		"IPv4":                         {"udp4", "127.0.0.1", "127.0.0.1", own},
		"IPv6":                         {"udp6", "::1", "::1", own},
		"IPv4 of both":                 {"udp", "::", "127.0.0.1", own},
		"IPv6 of both":                 {"udp", "::", "::1", own},
		"shared":                       {"udp4", "127.0.0.1", "127.0.0.1", shared},
		"IPv4 of a shared one of both": {"udp", "::", "127.0.0.1", shared},
		"virtual":                      {"udp4", "127.0.0.1", "127.0.0.1", func(c *net.UDPConn) net.PacketConn { return virtual{c} }},
		"embedding":                    {"udp4", "127.0.0.1", "127.0.0.1", func(c *net.UDPConn) net.PacketConn { return embedding{c} }},
		"open gate":                    {"udp4", "127.0.0.1", "127.0.0.1", func(c *net.UDPConn) net.PacketConn { return &gate{PacketConn: own(c)} }},
		"open gate, shared":            {"udp4", "127.0.0.1", "127.0.0.1", func(c *net.UDPConn) net.PacketConn { return &gate{PacketConn: c} }},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(tc.wrap(listen(t, tc.network, tc.bind)))
			require.NoError(t, err)
			t.Cleanup(func() { _ = s.Close() })
			require.Equal(t, runtime.GOOS == "linux" && name != "virtual" && name != "embedding", s.kernel != nil)
			port := s.LocalAddr().(*net.UDPAddr).Port
			test(t, s, netip.AddrPortFrom(netip.MustParseAddr(tc.reach), uint16(port)))
		})
	}
}

// texts reads until there are n datagrams, all from one address.
func texts(t *testing.T, s *Socket, n int, from netip.AddrPort) (all []string) {
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
	each(t, func(t *testing.T, s *Socket, to netip.AddrPort) {
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
		_, err = s.WriteToAddrPort([]byte("back"), here)
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
// paused, and one that comes after that.
func TestWaiting(t *testing.T) {
	each(t, func(t *testing.T, s *Socket, to netip.AddrPort) {
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
					s.Pause()
				}
			}
		})
		for i := range 50 {
			if i%5 == 0 {
				time.Sleep(time.Millisecond) // most likely it waits again
			}
			_, err := s.WriteToAddrPort([]byte(fmt.Sprint(i)), to)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), <-in)
		}
		require.NoError(t, s.Close())
		wg.Wait()
	})
}

func TestClose(t *testing.T) {
	each(t, func(t *testing.T, s *Socket, to netip.AddrPort) {
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
		_, err = s.WriteToAddrPort([]byte("late"), to)
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, s.Close(), net.ErrClosed)
		again, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(to))
		require.NoError(t, err, "the port is free")
		require.NoError(t, again.Close())
	})
}

// Whoever keeps a socket can close it, and with it all that is done, also when it was
// taken out of the hands of Go's poller.
func TestASharedSocketIsClosedFromElsewhere(t *testing.T) {
	for name, wrap := range map[string]func(*net.UDPConn) net.PacketConn{
		"a UDPConn": func(c *net.UDPConn) net.PacketConn { return c },
		"a Conn":    func(c *net.UDPConn) net.PacketConn { return &Conn{UDPConn: c} },
		"a gate":    func(c *net.UDPConn) net.PacketConn { return &gate{PacketConn: &Conn{UDPConn: c}} },
	} {
		t.Run(name, func(t *testing.T) {
			conn := wrap(listen(t, "udp4", "127.0.0.1"))
			s, err := Open(conn)
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
			_, err = s.WriteToAddrPort([]byte("late"), at.AddrPort())
			require.ErrorIs(t, err, net.ErrClosed)
			again, err := net.ListenUDP("udp4", at)
			require.NoError(t, err, "the port is free")
			require.NoError(t, again.Close())
			require.ErrorIs(t, s.Close(), net.ErrClosed)
		})
	}
}

// A port is free at once, though others are about to send.
func TestAPortIsFreeWhenCloseReturns(t *testing.T) {
	other := listen(t, "udp4", "127.0.0.1")
	defer func() { require.NoError(t, other.Close()) }()
	to := other.LocalAddr().(*net.UDPAddr).AddrPort()
	conn := &Conn{UDPConn: listen(t, "udp4", "127.0.0.1")}
	for range 300 {
		s, err := Open(conn)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					_, _ = s.WriteToAddrPort(make([]byte, 1200), to)
				}
			})
		}
		wg.Go(func() {
			for !errors.Is(func() error { _, err := s.ReadBatch(); return err }(), net.ErrClosed) {
			}
		})
		runtime.Gosched()
		require.NoError(t, conn.Close())
		again, err := net.ListenUDP("udp4", conn.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		wg.Wait()
		conn = &Conn{UDPConn: again}
	}
	require.NoError(t, conn.Close())
}

func TestAClosedConnIsNotOpened(t *testing.T) {
	conn := &Conn{UDPConn: listen(t, "udp4", "127.0.0.1")}
	require.NoError(t, conn.Close())
	_, err := Open(conn)
	require.ErrorIs(t, err, net.ErrClosed)
}

// What has come to a shared socket is read with one call.
func TestASharedSocketIsReadInBatches(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has such a call")
	}
	each(t, func(t *testing.T, s *Socket, to netip.AddrPort) {
		if s.kernel == nil {
			t.Skip("a virtual network has no such call")
		}
		const n = 8
		for calls := range 3 {
			for range n {
				_, err := s.WriteToAddrPort([]byte("hello"), to)
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
	})
}

// An interceptor sees all datagrams while it wants to, and none of them otherwise, and
// changes its mind while a read waits.
func TestAnInterceptorChangesItsMind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere it sees them always")
	}
	for name, under := range map[string]func(*net.UDPConn) net.PacketConn{
		"in front of a UDPConn": func(c *net.UDPConn) net.PacketConn { return c },
		"in front of a Conn":    func(c *net.UDPConn) net.PacketConn { return &Conn{UDPConn: c} },
	} {
		t.Run(name, func(t *testing.T) {
			g := &gate{PacketConn: under(listen(t, "udp4", "127.0.0.1"))}
			s, err := Open(g)
			require.NoError(t, err)
			to := g.LocalAddr().(*net.UDPAddr).AddrPort()
			other := listen(t, "udp4", "127.0.0.1")
			defer func() { require.NoError(t, other.Close()) }()
			send := func(text string) {
				_, err := other.WriteToUDPAddrPort([]byte(text), to)
				require.NoError(t, err)
			}
			in := make(chan string)
			var wg sync.WaitGroup
			wg.Go(func() {
				defer close(in)
				for {
					batch, err := s.ReadBatch()
					if err != nil {
						return
					}
					for _, d := range batch {
						in <- string(d.Bytes)
					}
				}
			})
			for i := range 20 {
				open := fmt.Sprint("open ", i)
				send(open)
				require.Equal(t, open, <-in)
				seen := g.reads.Load()
				if i%2 == 0 {
					time.Sleep(time.Millisecond) // most likely the read waits again
				}
				asked := g.asked.Load()
				g.set(true)
				require.Eventually(t, func() bool { return g.asked.Load() > asked }, 10*time.Second, time.Microsecond)
				send("dropped")
				require.Eventually(t, func() bool { return g.reads.Load() == seen+1 }, 10*time.Second, time.Microsecond)
				_, err := s.WriteToAddrPort([]byte("dropped"), other.LocalAddr().(*net.UDPAddr).AddrPort())
				require.NoError(t, err)
				require.Equal(t, int64(i+1), g.write.Load())
				g.set(false)
			}
			require.NoError(t, s.Close())
			wg.Wait()
		})
	}
}

func TestOneDatagramDoesNotAllocate(t *testing.T) {
	each(t, func(t *testing.T, s *Socket, to netip.AddrPort) {
		if s.kernel == nil {
			t.Skip("a virtual network has its own way")
		}
		b := slices.Repeat([]byte{1}, 1200)
		require.Zero(t, testing.AllocsPerRun(20, func() {
			if _, err := s.WriteToAddrPort(b, to); err != nil {
				t.Error(err)
			}
		}))
	})
}
