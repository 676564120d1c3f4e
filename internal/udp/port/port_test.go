package port

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/udp/icetcp"
	"github.com/deltacdn/delta/internal/udp/socket"
)

// check is a STUN binding request with a USERNAME, and an attribute before it.
func check(username string) []byte {
	b := []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	b = append(b, 0x80, 0x22, 0, 3, 'a', 'b', 'c', 0)
	b = append(b, 0, 6, byte(len(username)>>8), byte(len(username)))
	return append(b, username...)
}

type inbox struct {
	mu  sync.Mutex
	got []string
	in  chan struct{}
}

func newInbox() *inbox { return &inbox{in: make(chan struct{}, 100)} }

func (e *inbox) Receive(_, _ time.Time, b []byte, _ netip.AddrPort) (routine bool) {
	e.mu.Lock()
	e.got = append(e.got, string(b))
	e.mu.Unlock()
	e.in <- struct{}{}
	return false
}

func TestDatagramsFindTheirSession(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	sock, err := socket.Open(&socket.Conn{UDPConn: conn})
	require.NoError(t, err)
	p := New(sock, func() {}, nil)
	others := make(chan string, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, _, err := p.ReadFrom(buf)
			if err != nil {
				close(others)
				return
			}
			others <- string(buf[:n])
		}
	})
	client, err := net.DialUDP("udp4", nil, p.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	send := func(b []byte) {
		_, err := client.Write(b)
		require.NoError(t, err)
	}
	mine := newInbox()
	require.NoError(t, p.Name("mine", mine))
	require.ErrorIs(t, p.Name("mine", mine), ErrNameTaken)

	send(check("mine:theirs"))
	<-mine.in
	send(check("other:theirs"))
	require.Equal(t, string(check("other:theirs")), <-others)
	send([]byte{128, 1, 2})
	require.Equal(t, "\x80\x01\x02", <-others, "an address that nobody has claimed is pion's")
	addr := client.LocalAddr().(*net.UDPAddr).AddrPort()
	p.Claim(addr, mine)
	send([]byte{128, 1, 2})
	<-mine.in
	send(check("other:theirs"))
	<-others // a check names its session, whoever had the address

	require.NoError(t, p.Send([]byte("out"), addr))
	buf := make([]byte, 10)
	n, err := client.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "out", string(buf[:n]))

	p.Forget(mine, []string{"mine"}, []netip.AddrPort{addr})
	send(check("mine:theirs"))
	<-others
	send([]byte{128})
	<-others
	require.Equal(t, []string{string(check("mine:theirs")), "\x80\x01\x02"}, mine.got)
	require.EqualValues(t, 2, p.Unclaimed(), "but for checks")
	require.NoError(t, p.Close())
	wg.Wait()
	require.ErrorIs(t, p.Name("late", mine), net.ErrClosed)
}

// An address that anybody can have named brings a session DTLS records, and not
// the media of who is really there.
func TestAnAddressThatIsNotProved(t *testing.T) {
	p := New(&failing{}, func() {}, nil)
	mine, other := newInbox(), newInbox()
	addr := netip.MustParseAddrPort("192.0.2.1:5000")
	record, media := []byte{22, 254, 253}, []byte{128, 96}
	p.ClaimFree(addr, mine)
	p.ClaimFree(addr, other)
	require.Equal(t, Endpoint(mine), p.endpoint(record, addr), "who comes first")
	require.Nil(t, p.endpoint(media, addr))
	p.Claim(addr, other)
	require.Equal(t, Endpoint(other), p.endpoint(record, addr))
	require.Equal(t, Endpoint(other), p.endpoint(media, addr))
	p.Own(addr, mine)
	require.Equal(t, Endpoint(other), p.endpoint(media, addr), "another has it")
	p.Forget(other, nil, []netip.AddrPort{addr})
	p.Own(addr, other)
	require.Nil(t, p.endpoint(media, addr), "it is another's")
	p.Own(addr, mine)
	require.Equal(t, Endpoint(mine), p.endpoint(media, addr))
	require.Equal(t, Endpoint(mine), p.endpoint(record, addr))
	p.Forget(mine, nil, []netip.AddrPort{addr})
	require.Nil(t, p.endpoint(record, addr))
	require.Empty(t, p.free)
	require.Empty(t, p.addrs)
}

// failing fails to read a while.
type failing struct {
	datagramSocket
	errs int
}

func (f *failing) ReadBatch() ([]socket.Datagram, error) {
	if f.errs > 0 {
		f.errs--
		return nil, errors.New("connection refused")
	}
	return []socket.Datagram{{Bytes: []byte("hello"), From: netip.MustParseAddrPort("127.0.0.1:9")}}, nil
}

// A bursty socket has one datagram to a batch.
type bursty struct {
	datagramSocket
	more []bool        // whether the burst goes on after a batch
	n    int           // batches that were read
	each time.Duration // what a batch takes

	yielded []int // the batches that were read by then
}

func (b *bursty) Yield() { b.yielded = append(b.yielded, b.n) }

func (b *bursty) ReadBatch() ([]socket.Datagram, error) {
	if b.n == len(b.more) {
		return nil, net.ErrClosed
	}
	b.n++
	time.Sleep(b.each)
	return []socket.Datagram{{Bytes: []byte("b"), From: viewer}}, nil
}

func (b *bursty) ReadMore() []socket.Datagram {
	if b.n == 0 || !b.more[b.n-1] {
		return nil
	}
	all, _ := b.ReadBatch()
	return all
}

// A burst is drained once, and an endless one now and then.
func TestBurstsStayWhole(t *testing.T) {
	s := &bursty{more: slices.Concat([]bool{false, true, true, false}, slices.Repeat([]bool{true}, 3*mostBatches), []bool{false})}
	mine, drained := newInbox(), []int{}
	p := New(s, func() { drained = append(drained, len(mine.got)) }, nil)
	p.Claim(viewer, mine)
	_, _, err := p.ReadFrom(make([]byte, 10))
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, []int{0, 1, 4}, drained[:3])
	require.Equal(t, len(s.more), drained[len(drained)-1])
	for i := range drained[1:] {
		require.LessOrEqual(t, drained[i+1]-drained[i], mostBatches+1)
	}
}

// A reader that finds more to read each time lets others run every 10 ms, and one that has
// waited does not have to.
func TestAFloodLetsOthersRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := func(more []bool) []int {
			s := &bursty{more: more, each: time.Millisecond}
			p := New(s, func() {}, nil)
			p.Claim(viewer, newInbox())
			_, _, err := p.ReadFrom(make([]byte, 10))
			require.ErrorIs(t, err, net.ErrClosed)
			return s.yielded
		}
		flood := read(slices.Repeat([]bool{true}, 99))
		require.NotEmpty(t, flood)
		last := 0
		for _, n := range append(flood, 99) {
			require.LessOrEqual(t, n-last, 10+mostBatches+1)
			last = n
		}
		require.LessOrEqual(t, len(flood), 10)
		require.Empty(t, read(slices.Repeat([]bool{true, false}, 50)))
	})
}

func (f *failing) ReadMore() []socket.Datagram { return nil }

func TestPassingErrorsDoNotEndReading(t *testing.T) {
	buf := make([]byte, 10)
	n, _, err := New(&failing{errs: maxFailures - 1}, func() {}, nil).ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "hello", string(buf[:n]))
	_, _, err = New(&failing{errs: maxFailures}, func() {}, nil).ReadFrom(buf)
	require.Error(t, err)
}

func FuzzLocalFragment(f *testing.F) {
	f.Add(check("mine:theirs"))
	f.Add(check("x")[:23])
	f.Fuzz(func(_ *testing.T, b []byte) { localFragment(b) })
}

// A TCP client finds its session by a check, as a UDP client does, and one that names
// none is closed.
func TestTCPClientsFindTheirSession(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	sock, err := socket.Open(conn)
	require.NoError(t, err)
	p := New(sock, func() {}, nil)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	p.ListenTCP(l)
	mine := newInbox()
	require.NoError(t, p.Name("mine", mine))
	send := func(c net.Conn, b []byte) {
		_, err := c.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
		require.NoError(t, err)
	}
	good, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	send(good, check("mine:theirs"))
	<-mine.in
	at := icetcp.Address(good.LocalAddr().(*net.TCPAddr).AddrPort())
	p.Claim(at, mine)
	send(good, []byte{128, 1, 2})
	<-mine.in
	require.True(t, p.HasRoom(at))
	require.NoError(t, p.Send([]byte("out"), at))
	buf := make([]byte, 10)
	n, err := good.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "\x00\x03out", string(buf[:n]))

	bad, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	send(bad, check("other:theirs"))
	_, err = bad.Read(buf)
	require.Error(t, err)

	p.Forget(mine, []string{"mine"}, []netip.AddrPort{at})
	_, err = good.Read(buf)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, p.Close())
	require.NoError(t, good.Close())
	require.NoError(t, bad.Close())
}

// What waited for the reader is given with the time at which it came, as far as the
// stamp can be true.
func TestDatagramsComeWithTheirTimes(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		stamp  time.Time
		waited time.Duration
	}{
		"none":              {time.Time{}, 0},
		"now":               {now.Round(0), 0},
		"a moment ago":      {now.Round(0).Add(-7 * time.Millisecond), 7 * time.Millisecond},
		"a clock set ahead": {now.Round(0).Add(-time.Hour), 0},
		"a clock set back":  {now.Round(0).Add(time.Minute), 0},
	} {
		require.Equal(t, c.waited, now.Sub(arrived(now, socket.Datagram{Arrived: c.stamp})), name)
	}
}
