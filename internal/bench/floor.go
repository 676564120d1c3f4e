package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// floor prints what the server's core needs at the least for the same packets
// to n receivers.
func floor(ctx context.Context, binary string, n int) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var ports []string
	for range n {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetReadBuffer(4 << 20) // as much as the system allows
		ports = append(ports, strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port))
		wg.Go(func() {
			for buf := make([]byte, 1500); ; {
				if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
					return
				}
			}
		})
	}
	cmd := command(ctx, binary, "-kind", "floor", "-ports", strings.Join(ports, ","))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
