package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/egress"
)

// floor prints the CPU time that a packet takes at the least: sealed once and
// sent by UDP_SEGMENT and sendmmsg, as frames of nine packets and sound in the
// proportion of the benchmark's stream, and nothing else.
func floor() error {
	const viewers, perFrame, videoBytes, soundBytes = 100, 9, 1162, 132
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var to []netip.AddrPort
	for range viewers {
		r, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		to = append(to, r.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	ctx, err := srtp.CreateContext(make([]byte, 16), make([]byte, 12), srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		return err
	}
	socket := egress.New(conn, nil)
	batch := socket.NewBatch()
	var h rtp.Header
	seq, packets := uint16(0), 0
	send := func(n int, to netip.AddrPort) error {
		seq++
		room := batch.Room(n + 32)
		plain := room[:n]
		clear(plain[:12])
		plain[0], plain[2], plain[3] = 0x80, byte(seq>>8), byte(seq)
		sealed, err := ctx.EncryptRTP(plain[:0:cap(room)], plain, &h)
		batch.Add(sealed, to)
		packets++
		return err
	}
	before, begun := onCore(), time.Now()
	for n := 0; time.Since(begun) < 2*time.Second; n++ {
		for _, a := range to {
			for range perFrame {
				err = errors.Join(err, send(videoBytes, a))
			}
		}
		for range 5 { // 50 packets of sound to 270 of video
			for _, a := range to {
				if n%3 == 0 {
					err = errors.Join(err, send(soundBytes, a))
				}
			}
			if n%3 == 0 {
				err = errors.Join(err, batch.Flush())
			}
		}
		if err = errors.Join(err, batch.Flush()); err != nil {
			return err
		}
	}
	took := onCore() - before
	fmt.Printf("floor: %.2f µs a packet (%d packets; sending by %v)\n", float64(took.Nanoseconds())/1000/float64(packets), packets, socket.Mode())
	return err
}

// onCore returns the CPU time of the process.
func onCore() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
