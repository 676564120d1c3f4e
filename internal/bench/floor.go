package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// floor measures what the server's core needs at the least for the same packets
// to n receivers.
func floor(ctx context.Context, binary string, n int, l load) (result, error) {
	r := result{kind: "floor", viewers: n}
	ports, stop, err := receivers(n, l.gro)
	defer stop()
	if err != nil {
		return r, err
	}
	out, err := command(ctx, binary, "-kind", "floor", "-ports", strings.Join(ports, ","),
		"-for", l.window.String(), fmt.Sprintf("-sound=%t", l.sound)).Output()
	if err != nil {
		return r, err
	}
	var ns, packets float64
	if _, err := fmt.Sscan(string(out), &ns, &packets); err != nil || packets == 0 {
		return r, errors.Join(err, errors.New("nothing was sent"))
	}
	r.cpu = ns / 1000 / packets
	r.fanout = r.cpu
	r.load = ns / float64(l.window.Nanoseconds())
	return r, nil
}

// receivers read what comes to their ports, until stop.
func receivers(n int, gro bool) (ports []string, stop func(), err error) {
	var wg sync.WaitGroup
	var conns []*net.UDPConn
	stop = func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		wg.Wait()
	}
	for range n {
		conn, err := listen("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return ports, stop, err
		}
		conns = append(conns, conn)
		ports = append(ports, strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port))
		buf := make([]byte, 1500)
		if gro {
			whole, err := newMessages(conn, true, false)
			if err != nil {
				return ports, stop, err
			}
			buf = whole.buf
		}
		wg.Go(func() {
			for {
				if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
					return
				}
			}
		})
	}
	return ports, stop, nil
}
