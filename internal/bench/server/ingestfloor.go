package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
	"unsafe"

	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/udp/socket"
)

// ingestFloor reads what comes from publishers, each millisecond what has come in it, and
// opens it. That is all: what a publisher's packets cost at the least. Publisher i has
// the SSRCs 2*i and 2*i+1, and a key of which the first byte is i.
func ingestFloor(publishers int) error {
	const batch = 32
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	openers := make([]*dtlssrtp.PacketOpener, publishers)
	for i := range openers {
		key := make([]byte, 16)
		key[0] = byte(i)
		if openers[i], err = dtlssrtp.NewPacketOpener(srtp.ProtectionProfileAeadAes128Gcm, key, make([]byte, 12), 2); err != nil {
			return err
		}
	}
	in := socket.NewReceiver(raw, batch, 0)
	fmt.Println("serving", conn.LocalAddr())
	runtime.LockOSThread()
	for {
		n, err := in.Receive(batch)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return err
		}
		for _, d := range in.Taken(n) {
			const header = 12
			if _, ok := openers[binary.BigEndian.Uint32(d.Bytes[8:])/2].Open(d.Bytes, header); !ok {
				return errors.New("a packet cannot be opened")
			}
		}
		if n < batch {
			pause(time.Millisecond)
		}
	}
}

// pause does nothing for a time, and has the scheduler do nothing about that.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}
