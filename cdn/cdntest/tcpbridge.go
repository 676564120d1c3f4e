package cdntest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// A tcpBridge has a client's media go by TCP (RFC 6544, framed as in RFC 4571) on a
// [Network], where pion cannot dial: to pion it is a server's UDP port. Each address
// that pion sends from has a connection of its own.
type tcpBridge struct {
	host   *Host
	server netip.AddrPort
	udp    net.PacketConn
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	conns map[string]net.Conn // by the address of pion's; of the reader alone
}

// bridgeTCP returns the answer with one candidate, the bridge, in place of the
// server's, of which the first one by TCP is what the bridge connects to.
func bridgeTCP(h *Host, answer string) (*tcpBridge, string, error) {
	server, err := passiveCandidate(answer)
	if err != nil {
		return nil, "", err
	}
	udp, err := h.Net().ListenUDP(netip.AddrPortFrom(h.ip, 0))
	if err != nil {
		return nil, "", err
	}
	b := &tcpBridge{host: h, server: server, udp: udp, conns: map[string]net.Conn{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.work.Go(b.up)
	at := udp.LocalAddr().(*net.UDPAddr)
	own := fmt.Sprintf("a=candidate:1 1 udp 2130706431 %s %d typ host\r\n", at.IP, at.Port)
	var out strings.Builder
	for line := range strings.SplitAfterSeq(answer, "\r\n") {
		switch {
		case !strings.HasPrefix(line, "a=candidate:"):
			out.WriteString(line)
		case strings.Contains(line, " tcptype passive"):
			out.WriteString(own)
			own = "" // of the first m-section, that is all that there is
		}
	}
	return b, out.String(), nil
}

// passiveCandidate returns the address of the first candidate by TCP.
func passiveCandidate(answer string) (netip.AddrPort, error) {
	for line := range strings.SplitSeq(answer, "\r\n") {
		f := strings.Fields(line)
		if strings.HasPrefix(line, "a=candidate:") && len(f) > 6 && strings.EqualFold(f[2], "tcp") && strings.Contains(line, "tcptype passive") {
			return netip.ParseAddrPort(net.JoinHostPort(f[4], f[5]))
		}
	}
	return netip.AddrPort{}, errors.New("cdntest: the server has no candidate by TCP")
}

// up carries what pion sends.
func (b *tcpBridge) up() {
	defer func() {
		for _, c := range b.conns {
			_ = c.Close()
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, from, err := b.udp.ReadFrom(buf[2:])
		if err != nil {
			return
		}
		binary.BigEndian.PutUint16(buf, uint16(n))
		conn := b.conns[from.String()]
		if conn == nil {
			if conn, err = b.host.DialTCP(b.ctx, b.server); err != nil {
				continue // pion sends again
			}
			b.conns[from.String()] = conn
			context.AfterFunc(b.ctx, func() { _ = conn.Close() })
			b.work.Go(func() { b.down(conn, from) })
		}
		if _, err := conn.Write(buf[:2+n]); err != nil {
			delete(b.conns, from.String())
			_ = conn.Close()
		}
	}
}

// down carries what the server sends.
func (b *tcpBridge) down(conn net.Conn, to net.Addr) {
	r := bufio.NewReaderSize(conn, 2+1<<11) // what waits is to wait at the server
	var size [2]byte
	for {
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(r, packet); err != nil {
			return
		}
		_, _ = b.udp.WriteTo(packet, to)
	}
}

// close closes all connections, and waits.
func (b *tcpBridge) close() {
	b.cancel()
	_ = b.udp.Close()
	b.work.Wait()
}
