package egress

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// waitsFor is how long a test waits for what must come.
const waitsFor = 10 * time.Second

func listen(t testing.TB, host string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil && strings.Contains(host, ":") {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// forced returns a socket in one mode.
func forced(t testing.TB, conn Conn, mode Mode) *Socket {
	t.Helper()
	s := newSocket(conn, nil, mode)
	if s.Mode() != mode {
		t.Skipf("this machine has no mode %v for UDP sockets", mode)
	}
	return s
}

// eachMode runs a test on a socket of each mode, bound to a loopback address.
func eachMode(t *testing.T, test func(t *testing.T, conn *net.UDPConn, s *Socket)) {
	for _, mode := range []Mode{Single, Messages, Segments} {
		t.Run(mode.String(), func(t *testing.T) {
			conn := listen(t, "127.0.0.1")
			test(t, conn, forced(t, conn, mode))
		})
	}
}

// send adds a datagram of size bytes, whose first tell it from others.
func send(b *Batch, to netip.AddrPort, number, size int) []byte {
	d := b.Room(size)
	for len(d) < size {
		d = append(d, byte(number), byte(number>>8), byte(len(d)))
	}
	d = d[:size]
	b.Add(d, to)
	return bytes.Clone(d)
}

func requireReceived(t *testing.T, c *net.UDPConn, want [][]byte) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(waitsFor)))
	buf := make([]byte, 1<<16)
	for i, w := range want {
		n, err := c.Read(buf)
		require.NoError(t, err, "datagram %d of %d", i, len(want))
		require.Equal(t, w, buf[:n], "datagram %d of %d", i, len(want))
	}
}

// requireNoMore uses that datagrams of one socket to another stay in order.
func requireNoMore(t *testing.T, s *Socket, c *net.UDPConn) {
	t.Helper()
	b := s.NewBatch()
	b.Add(append(b.Room(8), "the end."...), addrOf(c))
	require.NoError(t, b.Flush())
	requireReceived(t, c, [][]byte{[]byte("the end.")})
}

func TestDelivery(t *testing.T) {
	sizes := map[string][]int{
		"equal":           {1200, 1200, 1200, 1200},
		"short last":      {1200, 1200, 300, 1200, 1200},
		"longer":          {100, 100, 1200, 1300, 1300, 1},
		"mixed":           {1, 2, 3, 3, 3, 2, 2, 1, 1, 1400, 7, 7, 900},
		"one":             {1},
		"many small":      repeat(10, 2*maxSegments+3),
		"many large":      repeat(1300, maxMessageBytes/1300+5),
		"as large as can": {60_001, 5000, 5000},
	}
	for _, net := range []struct{ name, from, a, b string }{
		{"v4", "127.0.0.1", "127.0.0.1", "127.0.0.1"},
		{"v4 any", "0.0.0.0", "127.0.0.1", "127.0.0.1"},
		{"v6", "::1", "::1", "::1"},
		{"dual", "::", "127.0.0.1", "::1"},
	} {
		for _, mode := range []Mode{Single, Messages, Segments} {
			for name, sizes := range sizes {
				t.Run(fmt.Sprintf("%s/%v/%s", net.name, mode, name), func(t *testing.T) {
					s := forced(t, listen(t, net.from), mode)
					testDelivery(t, s, listen(t, net.a), listen(t, net.b), sizes)
				})
			}
		}
	}
}

func repeat(size, times int) []int {
	sizes := make([]int, times)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

func testDelivery(t *testing.T, s *Socket, a, c *net.UDPConn, sizes []int) {
	batch := s.NewBatch()
	var toA, toC [][]byte
	for i, size := range sizes {
		toA = append(toA, send(batch, addrOf(a), i, size))
	}
	for i, size := range sizes {
		toC = append(toC, send(batch, addrOf(c), 1000+i, size))
	}
	require.NoError(t, batch.Flush())
	requireReceived(t, a, toA)
	requireReceived(t, c, toC)

	for i, size := range sizes[:min(len(sizes), 20)] {
		toA[i] = send(batch, addrOf(a), 2000+i, size)
		toC[i] = send(batch, addrOf(c), 3000+i, size)
	}
	require.NoError(t, batch.Flush())
	requireReceived(t, a, toA[:min(len(sizes), 20)])
	requireReceived(t, c, toC[:min(len(sizes), 20)])
	requireNoMore(t, s, a)
	requireNoMore(t, s, c)
	require.Zero(t, s.Stats().Dropped)
}

func TestMappedAddressIsIPv4(t *testing.T) {
	eachMode(t, func(t *testing.T, _ *net.UDPConn, s *Socket) {
		receiver := listen(t, "127.0.0.1")
		to := addrOf(receiver)
		b := s.NewBatch()
		want := send(b, netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port()), 1, 100)
		require.NoError(t, b.Flush())
		requireReceived(t, receiver, [][]byte{want})
	})
}

func TestFullBatchFlushesItself(t *testing.T) {
	const size = 1200
	eachMode(t, func(t *testing.T, _ *net.UDPConn, s *Socket) {
		var receivers [16]*net.UDPConn
		var want [len(receivers)][][]byte
		for i := range receivers {
			receivers[i] = listen(t, "127.0.0.1")
		}
		b := s.NewBatch()
		n := arenaBytes/size + arenaBytes/size/2
		for i := range n {
			at := i / 5 % len(receivers)
			want[at] = append(want[at], send(b, addrOf(receivers[at]), i, size))
		}
		require.Positive(t, s.Stats().Datagrams, "some are sent before Flush")
		require.NoError(t, b.Flush())
		for i, r := range receivers {
			requireReceived(t, r, want[i])
		}
		require.Equal(t, uint64(n), s.Stats().Datagrams)
	})
}

func TestManyRunsFlushThemselves(t *testing.T) {
	conn := &recorder{}
	s := New(conn, nil)
	b := s.NewBatch()
	var want []string
	for i := range 3*maxRuns + 1 {
		want = append(want, string(send(b, netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i)), i, 10)))
	}
	require.Len(t, conn.datagrams, 3*maxRuns)
	require.NoError(t, b.Flush())
	require.Equal(t, want, conn.datagrams)
	require.NoError(t, b.Flush(), "of nothing")
	require.Len(t, conn.datagrams, len(want))
}

func TestUnusedRoomAndOutgrownRoom(t *testing.T) {
	conn := &recorder{}
	b := New(conn, nil).NewBatch()
	to := netip.MustParseAddrPort("192.0.2.1:5")
	b.Add(append(b.Room(5), "first"...), to)
	_ = append(b.Room(6), "unused"...)
	b.Add(append(b.Room(1), "outgrown"...), to)
	b.Add(append(b.Room(arenaBytes+1), "large room"...), to)
	b.Add(append(b.Room(4), "last"...), to)
	b.Add(b.Room(9), to)
	b.Add(make([]byte, 1<<16), to)
	require.NoError(t, b.Flush())
	require.Equal(t, []string{"first", "outgrown", "large room", "last"}, conn.datagrams)
	require.Equal(t, Stats{Datagrams: 4, Messages: 4, Calls: 4, Dropped: 2}, b.socket.Stats())
}

func TestRuns(t *testing.T) {
	for _, tc := range []struct {
		sizes []int
		runs  []int // datagrams in each
	}{
		{[]int{100, 100, 100}, []int{3}},
		{[]int{100, 100, 99, 99}, []int{3, 1}},
		{[]int{100, 99, 100}, []int{2, 1}},
		{[]int{99, 100, 100}, []int{1, 2}},
		{[]int{3, 2, 1}, []int{2, 1}},
		{repeat(10, maxSegments+1), []int{maxSegments, 1}},
		{append(repeat(20_000, 3), 5_000), []int{3, 1}},
		{[]int{60_001, 1, 1}, []int{1, 2}},
	} {
		b := New(&recorder{}, nil).NewBatch()
		for i, size := range tc.sizes {
			send(b, netip.MustParseAddrPort("192.0.2.1:5"), i, size)
		}
		var runs []int
		for _, r := range b.runs {
			runs = append(runs, r.count())
		}
		require.Equal(t, tc.runs, runs, "%v", tc.sizes)
	}
}

func TestStats(t *testing.T) {
	want := map[Mode]Stats{
		Single:   {Datagrams: 12, Messages: 12, Calls: 12},
		Messages: {Datagrams: 12, Messages: 12, Calls: 1},
		Segments: {Datagrams: 12, Messages: 3, Calls: 1},
	}
	eachMode(t, func(t *testing.T, _ *net.UDPConn, s *Socket) {
		b := s.NewBatch()
		for range 3 {
			to := addrOf(listen(t, "127.0.0.1"))
			for i := range 4 {
				send(b, to, i, 100)
			}
		}
		require.Zero(t, s.Stats())
		require.NoError(t, b.Flush())
		require.Equal(t, want[s.Mode()], s.Stats())
	})
}

func TestClosedSocket(t *testing.T) {
	eachMode(t, func(t *testing.T, conn *net.UDPConn, s *Socket) {
		b := s.NewBatch()
		to := addrOf(listen(t, "127.0.0.1"))
		conn.Close()
		require.NoError(t, b.Flush(), "of nothing")
		for i := range 3 {
			send(b, to, i, 100)
		}
		require.ErrorIs(t, b.Flush(), net.ErrClosed)
		require.NoError(t, b.Flush(), "of nothing")
		require.Equal(t, uint64(3), s.Stats().Dropped)

		send(b, to, 0, 100)
		b.Room(arenaBytes)
		require.ErrorIs(t, b.Flush(), net.ErrClosed, "of the flush by Room")
	})
}

func TestUnsendableHarmsNothingElse(t *testing.T) {
	eachMode(t, func(t *testing.T, _ *net.UDPConn, s *Socket) {
		receiver := listen(t, "127.0.0.1")
		b := s.NewBatch()
		var want [][]byte
		for i := range 5 {
			want = append(want, send(b, addrOf(receiver), i, 100), send(b, addrOf(receiver), i, 100))
			send(b, netip.MustParseAddrPort("127.0.0.1:0"), i, 100)     // no port
			send(b, netip.MustParseAddrPort("[2001:db8::1]:9"), i, 100) // not of this family
			send(b, netip.MustParseAddrPort("[2001:db8::1]:9"), i, 100)
		}
		require.NoError(t, b.Flush())
		requireReceived(t, receiver, want)
		st := s.Stats()
		require.Equal(t, uint64(10), st.Datagrams)
		require.Equal(t, uint64(15), st.Dropped)
	})
}

func TestBatchesInParallel(t *testing.T) {
	eachMode(t, func(t *testing.T, _ *net.UDPConn, s *Socket) {
		var wg sync.WaitGroup
		defer wg.Wait()
		for g := range 4 {
			receiver := listen(t, "127.0.0.1")
			var want [][]byte
			for i := range 60 {
				want = append(want, bytes.Repeat([]byte{byte(g), byte(i)}, 50))
			}
			wg.Go(func() {
				b := s.NewBatch()
				for i, w := range want {
					b.Add(append(b.Room(len(w)), w...), addrOf(receiver))
					if i%10 == 9 {
						b.Flush()
					}
				}
			})
			defer requireReceived(t, receiver, want)
		}
	})
}

// A recorder is a virtual network.
type recorder struct {
	datagrams []string
	addrs     []net.Addr
	err       error
}

func (r *recorder) WriteTo(b []byte, addr net.Addr) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.datagrams, r.addrs = append(r.datagrams, string(b)), append(r.addrs, addr)
	return len(b), nil
}

func TestVirtualNetwork(t *testing.T) {
	conn := &recorder{}
	s := New(conn, nil)
	require.Equal(t, Single, s.Mode())
	b := s.NewBatch()
	to := []string{"192.0.2.1:1", "192.0.2.1:1", "[2001:db8::1]:2", "192.0.2.1:3"}
	for i, a := range to {
		send(b, netip.MustParseAddrPort(a), i, 10)
	}
	require.NoError(t, b.Flush())
	var got []string
	for _, a := range conn.addrs {
		got = append(got, a.String())
	}
	require.Equal(t, to, got, "addresses are good for ever")

	conn.err = errors.New("no route")
	send(b, netip.MustParseAddrPort(to[0]), 1, 10)
	require.NoError(t, b.Flush())
	require.Equal(t, Stats{Datagrams: 4, Messages: 4, Calls: 5, Dropped: 1}, s.Stats())
	conn.err = fmt.Errorf("virtual: %w", net.ErrClosed)
	send(b, netip.MustParseAddrPort(to[0]), 1, 10)
	require.ErrorIs(t, b.Flush(), net.ErrClosed)
}

// An oddConn gives a raw connection that is none of a UDP socket.
type oddConn struct {
	recorder
	raw syscall.RawConn
	err error
}

func (c *oddConn) SyscallConn() (syscall.RawConn, error) { return c.raw, c.err }

func TestFallsBackToSingle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	tcp, err := l.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	closed := listen(t, "127.0.0.1")
	closedRaw, err := closed.SyscallConn()
	require.NoError(t, err)
	closed.Close()
	for name, conn := range map[string]*oddConn{
		"tcp":    {raw: tcp},
		"closed": {raw: closedRaw},
		"error":  {err: errors.ErrUnsupported},
	} {
		s := New(conn, nil)
		require.Equal(t, Single, s.Mode(), name)
		b := s.NewBatch()
		send(b, netip.MustParseAddrPort("192.0.2.1:1"), 1, 10)
		require.NoError(t, b.Flush(), name)
		require.Len(t, conn.datagrams, 1, name)
	}
}

// A wrapper is a UDP socket in a type of its own.
type wrapper struct {
	recorder
	raw *net.UDPConn
}

func (w *wrapper) SyscallConn() (syscall.RawConn, error) { return w.raw.SyscallConn() }

func TestWrappedSocket(t *testing.T) {
	for _, mode := range []Mode{Messages, Segments} {
		receiver := listen(t, "127.0.0.1")
		conn := &wrapper{raw: listen(t, "127.0.0.1")}
		b := forced(t, conn, mode).NewBatch()
		want := [][]byte{send(b, addrOf(receiver), 1, 100), send(b, addrOf(receiver), 2, 100)}
		require.NoError(t, b.Flush())
		requireReceived(t, receiver, want)
		require.Empty(t, conn.datagrams)
	}
}

// BenchmarkSend sends to sockets that nobody reads. Over loopback the sender
// pays for the receiver's part, too, cutting up messages among it: a network
// card shows a larger gain of [Segments].
func BenchmarkSend(b *testing.B) {
	const destinations, datagrams, size = 50, 9, 1200
	var to [destinations]netip.AddrPort
	for i := range to {
		to[i] = addrOf(listen(b, "127.0.0.1"))
	}
	payload := make([]byte, size)
	for _, mode := range []Mode{Single, Messages, Segments} {
		b.Run(mode.String(), func(b *testing.B) {
			batch := forced(b, listen(b, "127.0.0.1"), mode).NewBatch()
			b.ReportAllocs()
			for b.Loop() {
				for _, to := range to {
					for range datagrams {
						batch.Add(append(batch.Room(size), payload...), to)
					}
				}
				if err := batch.Flush(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*destinations*datagrams), "ns/datagram")
		})
	}
}
