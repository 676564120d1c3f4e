package cdntest

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v5"
	"github.com/stretchr/testify/require"
)

func TestHosts(t *testing.T) {
	n := NewNetwork(t, NetworkConfig{})
	a, b := n.Host("a", Path{}), n.Host("b", Path{})
	require.Same(t, a, n.Host("a", Path{Delay: 1}))
	require.NotEqual(t, a.IP(), b.IP())
	require.Equal(t, "a", a.Name())
	require.Equal(t, "10.1.0.0", hostIP(1<<16).String(), "more hosts than one byte counts")
}

func TestHostNetResolves(t *testing.T) {
	n := NewNetwork(t, NetworkConfig{})
	a, b := n.Host("a", Path{}), n.Host("b", Path{})
	tests := []struct {
		address string
		want    string
	}{
		{"b:80", b.IP().String() + ":80"},
		{"192.0.2.1:80", "192.0.2.1:80"},
		{":80", ":80"},
		{"c:80", ""},
		{"b", ""},
		{"b:none", ""},
		{"[2001:db8::1]:80", ""},
	}
	for _, test := range tests {
		got, err := a.pion().ResolveUDPAddr("udp", test.address)
		if test.want == "" {
			require.Error(t, err, test.address)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.want, got.String())
	}
	ip, err := a.pion().ResolveIPAddr("ip4", "b")
	require.NoError(t, err)
	require.Equal(t, b.IP().String(), ip.String())
	_, err = a.pion().ResolveIPAddr("ip6", "b")
	require.ErrorIs(t, err, transport.ErrNotSupported)
}

func TestHostNetInterfaces(t *testing.T) {
	host := NewNetwork(t, NetworkConfig{MTU: 1280}).Host("a", Path{})
	all, err := host.pion().Interfaces()
	require.NoError(t, err)
	require.Len(t, all, 2)
	eth, err := host.pion().InterfaceByName("eth0")
	require.NoError(t, err)
	require.Equal(t, 1280, eth.MTU)
	addrs, err := eth.Addrs()
	require.NoError(t, err)
	require.Equal(t, host.IP().String()+"/8", addrs[0].String())
	lo, err := host.pion().InterfaceByIndex(1)
	require.NoError(t, err)
	require.NotZero(t, lo.Flags&net.FlagLoopback)
	_, err = host.pion().InterfaceByIndex(9)
	require.ErrorIs(t, err, transport.ErrInterfaceNotFound)
}

func TestHostNetListen(t *testing.T) {
	n := NewNetwork(t, NetworkConfig{})
	host := n.Host("a", Path{})
	first, err := host.pion().ListenPacket("udp", ":7000")
	require.NoError(t, err)
	require.Equal(t, "0.0.0.0:7000", first.LocalAddr().String())
	_, err = host.pion().ListenUDP("udp", &net.UDPAddr{IP: host.IP().AsSlice(), Port: 7000})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.NoError(t, first.Close())
	require.ErrorIs(t, first.Close(), net.ErrClosed)
	again, err := host.pion().CreateListenConfig(nil).ListenPacket(context.Background(), "udp4", ":7000")
	require.NoError(t, err, "closing frees the port")
	require.NoError(t, again.Close())
	_, err = host.pion().ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)})
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	n.Close()
	_, err = host.pion().ListenUDP("udp", nil)
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestHostNetKnowsOnlyUDP4(t *testing.T) {
	network := NewNetwork(t, NetworkConfig{}).Host("a", Path{}).pion()
	calls := map[string]func() error{
		"ListenTCP":      func() error { _, err := network.ListenTCP("tcp", nil); return err },
		"DialTCP":        func() error { _, err := network.DialTCP("tcp", nil, nil); return err },
		"ResolveTCPAddr": func() error { _, err := network.ResolveTCPAddr("tcp", ":1"); return err },
		"ListenUDP6":     func() error { _, err := network.ListenUDP("udp6", nil); return err },
		"ListenPacket6":  func() error { _, err := network.ListenPacket("udp6", ":1"); return err },
		"Dial":           func() error { _, err := network.CreateDialer(nil).Dial("tcp", "b:1"); return err },
		"Listen": func() error {
			_, err := network.CreateListenConfig(nil).Listen(context.Background(), "tcp", ":1")
			return err
		},
	}
	for name, call := range calls {
		require.ErrorIs(t, call(), transport.ErrNotSupported, name)
	}
}

func TestHostNetPortsRunOut(t *testing.T) {
	host := NewNetwork(t, NetworkConfig{}).Host("a", Path{})
	for range 1<<16 - firstPort {
		c, err := host.pion().ListenUDP("udp", nil)
		require.NoError(t, err)
		require.GreaterOrEqual(t, c.LocalAddr().(*net.UDPAddr).Port, firstPort)
	}
	_, err := host.pion().ListenUDP("udp", nil)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}

func TestUDPConnConnected(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{}, Path{})
		c, err := w.from.pion().Dial("udp", "to:7000")
		require.NoError(t, err)
		require.Equal(t, w.to.IP().String()+":7000", c.RemoteAddr().String())
		_, err = c.Write([]byte("ping"))
		require.NoError(t, err)
		buf := make([]byte, 10)
		n, from, err := w.in.ReadFromUDP(buf)
		require.NoError(t, err)
		require.Equal(t, "ping", string(buf[:n]))

		stranger, err := w.to.pion().ListenUDP("udp", nil)
		require.NoError(t, err)
		_, err = stranger.WriteTo([]byte("spam"), from)
		require.NoError(t, err)
		_, err = w.in.WriteToUDP([]byte("pong"), from)
		require.NoError(t, err)
		n, err = c.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "pong", string(buf[:n]), "and nothing from others")
		require.Equal(t, 1, w.network.Traffic(w.to, w.from).NoSocket)

		udp := c.(transport.UDPConn)
		_, err = udp.WriteTo(nil, from)
		require.ErrorIs(t, err, net.ErrWriteToConnected)
		_, err = w.in.Write([]byte("to whom?"))
		require.Error(t, err)
		_, err = w.in.WriteTo(nil, &net.TCPAddr{})
		require.ErrorIs(t, err, transport.ErrNotUDPAddress)
	})
}

func TestUDPConnLoopback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{Delay: time.Hour, Loss: 1}, Path{})
		w.from.SetDownlink(Path{})
		in, err := w.from.pion().ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
		require.NoError(t, err)
		_, err = w.out.WriteTo([]byte("me"), in.LocalAddr())
		require.NoError(t, err)
		_, from, err := in.ReadFrom(make([]byte, 2))
		require.NoError(t, err)
		require.True(t, from.(*net.UDPAddr).IP.IsLoopback())
		_, err = w.in.WriteTo([]byte("you"), &net.UDPAddr{IP: w.from.IP().AsSlice(), Port: 1})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, 1, w.network.Traffic(w.to, w.from).NoSocket, "it is not bound to that address")
	})
}

func TestUDPConnCloseWakesReaders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{}, Path{})
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				_, addr, err := w.in.ReadFrom(nil)
				if addr != nil {
					t.Error("an address beside an error")
				}
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("read of a closed socket: %v", err)
				}
			})
		}
		time.Sleep(time.Second)
		w.network.Close()
		readers.Wait()
		_, err := w.out.WriteTo(nil, &net.UDPAddr{IP: w.to.IP().AsSlice(), Port: 7000})
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, w.in.SetDeadline(time.Now()), net.ErrClosed)
	})
}

func TestUDPConnDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{}, Path{})
		start := time.Now()
		require.NoError(t, w.in.SetDeadline(start.Add(time.Second)))
		for range 2 { // until it is moved, each read fails
			_, err := w.in.Read(nil)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Equal(t, time.Second, time.Since(start))
		}
		time.AfterFunc(time.Second, func() { _ = w.in.SetReadDeadline(time.Now()) })
		require.NoError(t, w.in.SetReadDeadline(time.Time{}))
		_, _, _, _, err := w.in.ReadMsgUDP(nil, nil)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "moved while reading")
		require.NoError(t, w.in.SetWriteDeadline(start))
	})
}

func TestUDPConnOverflow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWire(t, NetworkConfig{}, Path{}, Path{})
		require.NoError(t, w.in.SetReadBuffer(10*(100+packetOverhead)))
		require.NoError(t, w.in.SetWriteBuffer(1))
		for range 15 {
			_, _, err := w.out.WriteMsgUDP(make([]byte, 100), nil, &net.UDPAddr{IP: w.to.IP().AsSlice(), Port: 7000})
			require.NoError(t, err)
		}
		synctest.Wait()
		traffic := w.network.Traffic(w.from, w.to)
		require.Equal(t, 10, traffic.Arrived)
		require.Equal(t, 5, traffic.Overflow)
	})
}
