package cdntest

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

// pipe returns both sides of a connection.
func pipe(t *testing.T, from, to *Host, at netip.AddrPort) (client, server net.Conn) {
	l, err := to.Net().(cdn.TCPNetwork).ListenTCP(at)
	require.NoError(t, err)
	client, err = from.DialTCP(t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return client, server
}

func TestTCPIsOrderedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t, NetworkConfig{Seed: 1})
		a, b := n.Host("a", Path{Delay: 10 * time.Millisecond, Loss: 0.1}), n.Host("b", Path{})
		client, server := pipe(t, a, b, netip.AddrPortFrom(b.IP(), 80))
		require.Equal(t, client.LocalAddr(), server.RemoteAddr())
		require.Equal(t, a.IP(), server.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
		sent := make([]byte, 1<<20)
		for i := range sent {
			sent[i] = byte(i * i >> 8)
		}
		began := time.Now()
		_ = client.SetWriteDeadline(began.Add(time.Second))
		k, err := client.Write(sent)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody reads")
		require.Greater(t, k, tcpWindow-tcpSegment)
		require.LessOrEqual(t, k, tcpWindow)
		_ = client.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() {
			_, err := client.Write(sent[k:])
			_ = client.Close()
			done <- err
		}()
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.Equal(t, sent, got)
		require.NoError(t, server.Close())
		_, err = server.Write([]byte("x"))
		require.Error(t, err)
	})
}

func TestTCPErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t, NetworkConfig{})
		a, b := n.Host("a", Path{Delay: 10 * time.Millisecond}), n.Host("b", Path{})
		at := netip.AddrPortFrom(b.IP(), 80)
		began := time.Now()
		_, err := a.DialTCP(t.Context(), at)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, 20*time.Millisecond, time.Since(began))
		network := b.Net().(cdn.TCPNetwork)
		l, err := network.ListenTCP(at)
		require.NoError(t, err)
		_, err = network.ListenTCP(at)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = network.ListenTCP(netip.AddrPortFrom(a.IP(), 80))
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		b.Cut()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = a.DialTCP(ctx, at)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		b.Heal()
		require.NoError(t, l.Close())
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// What was on its way when a host was cut off comes when it is healed.
func TestTCPOutlivesACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t, NetworkConfig{})
		a, b := n.Host("a", Path{Delay: 10 * time.Millisecond}), n.Host("b", Path{})
		client, server := pipe(t, a, b, netip.AddrPortFrom(b.IP(), 80))
		_, err := client.Write([]byte("hello"))
		require.NoError(t, err)
		a.Cut()
		time.AfterFunc(time.Second, a.Heal)
		began := time.Now()
		buf := make([]byte, 10)
		k, err := server.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "hello", string(buf[:k]))
		require.GreaterOrEqual(t, time.Since(began), time.Second)
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
	})
}
