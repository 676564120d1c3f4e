package icetcp_test

import (
	"bufio"
	"context"
	"encoding/binary"
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

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/udp/icetcp"
	"github.com/deltacdn/delta/internal/udp/socket"
)

// world is a listener on a virtual network, and whoever takes what comes: packets
// that begin with k are known.
type world struct {
	*icetcp.Listener
	t       *testing.T
	network *cdntest.Network
	at      netip.AddrPort
	claims  bool // what is known is claimed at once

	mu   sync.Mutex
	got  []string
	from []netip.AddrPort
}

func inWorld(t *testing.T, claims bool, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, network: cdntest.NewNetwork(t, cdntest.NetworkConfig{}), claims: claims}
		host := w.network.Host("node", cdntest.Path{})
		w.at = netip.AddrPortFrom(host.IP(), 7000)
		l, err := host.Net().(cdn.TCPNetwork).ListenTCP(w.at)
		require.NoError(t, err)
		w.Listener = icetcp.Listen(l, w.receive)
		f(t, w)
		require.NoError(t, w.Close())
		require.ErrorIs(t, w.Close(), net.ErrClosed)
	})
}

func (w *world) receive(packets []socket.Datagram) (known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range packets {
		w.got = append(w.got, string(p.Bytes))
		w.from = append(w.from, p.From)
		if p.Bytes[0] == 'k' {
			known = true
			if w.claims {
				w.Claim(p.From)
			}
		}
	}
	return known
}

func (w *world) dial(host string) *client {
	conn, err := w.network.Host(host, cdntest.Path{}).DialTCP(context.Background(), w.at)
	require.NoError(w.t, err)
	return &client{t: w.t, Conn: conn, r: bufio.NewReaderSize(conn, 16)}
}

type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (c *client) send(packet string) {
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
	require.NoError(c.t, err)
	synctest.Wait()
}

func (c *client) read() (string, error) {
	var size [2]byte
	if _, err := io.ReadFull(c.r, size[:]); err != nil {
		return "", err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c.r, b)
	return string(b), err
}

// closed reports whether the server has closed the connection.
func (c *client) closed() bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.read()
	return errors.Is(err, io.EOF)
}

func TestAClientIsAnAddress(t *testing.T) {
	inWorld(t, true, func(t *testing.T, w *world) {
		c := w.dial("client")
		c.send("k1")
		c.send("2")
		require.Equal(t, []string{"k1", "2"}, w.got)
		at := w.from[0]
		require.True(t, icetcp.Is(at))
		require.Equal(t, c.LocalAddr().String(), icetcp.Plain(at).String())
		require.NotEqual(t, icetcp.Plain(at), at)
		w.Send([]byte("hello"), at)
		w.Send([]byte("world"), at)
		for _, want := range []string{"hello", "world"} {
			got, err := c.read()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		time.Sleep(time.Minute)
		require.False(t, c.closed(), "who is claimed may be silent")
		w.Send([]byte("bye"), at)
		w.Drop(at)
		_ = c.SetReadDeadline(time.Time{})
		got, err := c.read()
		require.NoError(t, err, "what waits is written first")
		require.Equal(t, "bye", got)
		_, err = c.read()
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, c.Close())
		synctest.Wait()
		require.Zero(t, w.Stats().Clients)
		w.Send([]byte("late"), at)
		require.EqualValues(t, 1, w.Stats().Gone)
	})
}

func TestStrangersAreClosed(t *testing.T) {
	inWorld(t, false, func(t *testing.T, w *world) {
		silent, unknown, garbage, unclaimed := w.dial("a"), w.dial("b"), w.dial("c"), w.dial("d")
		unknown.send("x")
		require.True(t, unknown.closed())
		_, err := garbage.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		require.NoError(t, err)
		synctest.Wait()
		require.True(t, garbage.closed())
		time.Sleep(4 * time.Second)
		unclaimed.send("k")
		require.False(t, silent.closed())
		require.False(t, unclaimed.closed())
		time.Sleep(time.Second)
		require.True(t, silent.closed())
		require.True(t, unclaimed.closed(), "what it says is for somebody who does not want it")
		s := w.Stats()
		require.Equal(t, icetcp.Stats{Accepted: 4, Silent: 2, Unknown: 1, Malformed: 1}, s)
	})
}

// A flood from one address takes the place of nobody else.
func TestFlood(t *testing.T) {
	inWorld(t, true, func(t *testing.T, w *world) {
		claimed, open := w.dial("good"), w.dial("good")
		claimed.send("k")
		var flood []*client
		for range 1000 {
			flood = append(flood, w.dial("bad"))
			synctest.Wait()
			require.LessOrEqual(t, w.Stats().HalfOpen, 256)
		}
		require.False(t, claimed.closed())
		require.False(t, open.closed())
		open.send("k")
		s := w.Stats()
		require.Equal(t, 2, s.Clients)
		require.EqualValues(t, 1000+1-256, s.Evicted)
		time.Sleep(10 * time.Second)
		s = w.Stats()
		require.Zero(t, s.HalfOpen)
		require.EqualValues(t, 255, s.Silent)
		for _, c := range flood {
			_ = c.Close()
		}
	})
}

// What waits for a client that reads slowly is bounded, and nobody waits for it.
func TestASlowReader(t *testing.T) {
	inWorld(t, true, func(t *testing.T, w *world) {
		c := w.dial("client")
		c.send("k")
		at := w.from[0]
		require.True(t, w.HasRoom(at))
		began := time.Now()
		packet := make([]byte, 1000)
		for range 2000 {
			w.Send(packet, at)
			require.LessOrEqual(t, w.Stats().Waiting, icetcp.MaxWaiting)
		}
		synctest.Wait()
		require.Equal(t, began, time.Now(), "nobody waits")
		require.False(t, w.HasRoom(at))
		require.Greater(t, w.Stats().Full, uint64(1000))
		time.Sleep(icetcp.MaxWait + time.Millisecond)
		w.Send(append([]byte("new"), packet...), at)
		var sizes []int
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		for {
			p, err := c.read()
			if err != nil {
				break
			}
			sizes = append(sizes, len(p))
		}
		// Those that were on their way, and then none that is old.
		require.Less(t, len(sizes), 120)
		require.Equal(t, 1, len(slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n != 1003 })))
		require.Greater(t, w.Stats().Late, uint64(100))
		require.True(t, w.HasRoom(at))
		require.NoError(t, c.Close())
	})
}

// A client that takes nothing for long is given up.
func TestAStalledReader(t *testing.T) {
	inWorld(t, true, func(t *testing.T, w *world) {
		c := w.dial("client")
		c.send("k")
		for range 200 {
			w.Send(make([]byte, 1000), w.from[0])
		}
		time.Sleep(11 * time.Second)
		s := w.Stats()
		require.EqualValues(t, 1, s.Stalled)
		require.Zero(t, s.Clients)
		require.Zero(t, s.Waiting)
		_ = c.Close()
	})
}

// Closing says goodbye to those who listen, and waits for those who do not no longer
// than a second.
func TestClose(t *testing.T) {
	inWorld(t, true, func(t *testing.T, w *world) {
		deaf, open := w.dial("deaf"), w.dial("open")
		deaf.send("k")
		for range 200 {
			w.Send(make([]byte, 1000), w.from[0])
		}
		began := time.Now()
		require.NoError(t, w.Close())
		require.LessOrEqual(t, time.Since(began), time.Second)
		require.True(t, open.closed())
		_ = deaf.Close()
		w.Listener = icetcp.Listen(nothing{}, w.receive) // for the end of the test
	})
}

// Whoever closes a listener waits, though somebody else began to close it.
func TestEveryCloseWaits(t *testing.T) {
	inWorld(t, true, func(t *testing.T, w *world) {
		deaf := w.dial("deaf")
		deaf.send("k")
		for range 200 {
			w.Send(make([]byte, 1000), w.from[0])
		}
		first, began := make(chan error, 1), time.Now()
		go func() { first <- w.Close() }()
		synctest.Wait()
		require.ErrorIs(t, w.Close(), net.ErrClosed)
		require.Positive(t, time.Since(began), "a client is waited for")
		require.NoError(t, <-first)
		_ = deaf.Close()
		w.Listener = icetcp.Listen(nothing{}, w.receive) // for the end of the test
	})
}

type nothing struct{}

func (nothing) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (nothing) Close() error              { return nil }
func (nothing) Addr() net.Addr            { return nil }

// On real sockets, too, little waits in the kernel for a client that reads nothing, so
// that what waits can be left out; and nobody waits for it.
func TestASlowReaderOnRealSockets(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	come := make(chan netip.AddrPort, 1)
	var s *icetcp.Listener
	started := make(chan struct{})
	s = icetcp.Listen(l, func(packets []socket.Datagram) bool {
		<-started
		s.Claim(packets[0].From)
		come <- packets[0].From
		return true
	})
	close(started)
	conn, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(16<<10))
	_, err = conn.Write([]byte{0, 1, 'k'})
	require.NoError(t, err)
	at := <-come
	packet := make([]byte, 1000)
	written := 0
	for full := 0; full < 100; { // milliseconds in which the kernel took nothing
		if s.HasRoom(at) {
			s.Send(packet, at)
			written += len(packet)
			require.Less(t, written, 2<<20)
			full = 0
		} else {
			time.Sleep(time.Millisecond)
			full++
		}
	}
	t.Logf("%d bytes were taken from who asks whether there is room", written)
	for range 1000 {
		s.Send(packet, at)
	}
	require.LessOrEqual(t, s.Stats().Waiting, icetcp.MaxWaiting)
	require.Positive(t, s.Stats().Full)
	require.NoError(t, s.Close()) // which waits for all goroutines
	require.NoError(t, conn.Close())
}
