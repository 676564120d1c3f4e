package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/udp/egress"
)

// floor prints how much CPU time packets take at the least, and how many they
// were: sealed once and sent by UDP_SEGMENT and sendmmsg at the pace of the
// benchmark's stream, or only of its sound, to sockets that are read from, and
// nothing else.
func floor(ports string, window time.Duration, soundOnly bool) error {
	const perFrame, videoBytes, soundBytes = 9, 1162, 132
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var to []netip.AddrPort
	for port := range strings.SplitSeq(ports, ",") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return err
		}
		to = append(to, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n)))
	}
	ctx, err := srtp.CreateContext(make([]byte, 16), make([]byte, 12), srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		return err
	}
	socket := egress.New(conn, nil)
	batch := socket.NewBatch()
	var h rtp.Header
	seq, packets := uint16(0), 0
	send := func(count, n int) error {
		for _, a := range to {
			for range count {
				seq++
				room := batch.Room(n + 32)
				plain := room[:n]
				clear(plain[:12])
				plain[0], plain[2], plain[3] = 0x80, byte(seq>>8), byte(seq)
				sealed, err := ctx.EncryptRTP(plain[:0:cap(room)], plain, &h)
				if err != nil {
					return err
				}
				batch.Add(sealed, a)
				packets++
			}
		}
		return batch.Flush()
	}
	video, sound := time.NewTicker(time.Second/30), time.NewTicker(20*time.Millisecond)
	if soundOnly {
		video.Stop()
	}
	before, end := onCore(), time.After(window)
	for over := false; !over && err == nil; {
		select {
		case <-video.C:
			err = send(perFrame, videoBytes)
		case <-sound.C:
			err = send(1, soundBytes)
		case <-end:
			over = true
		}
	}
	fmt.Println((onCore() - before).Nanoseconds(), packets)
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
