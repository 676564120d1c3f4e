package socket

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// stampSpace is the room that a control message with a time takes, in bytes.
const stampSpace = 64

// stampArrivals has the system say of each datagram when it came from the network
// (SO_TIMESTAMPNS). A batch is read when its reader gets to run, which is up to some
// milliseconds later and the same moment for all of it; senders that probe a path
// measure how far apart their packets arrive.
func (k *kernel) stampArrivals() bool {
	var failed error
	err := k.raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	return err == nil && failed == nil
}

// arrival returns the time in the control messages of a datagram, which is zero if
// there is none.
func arrival(control []byte) time.Time {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return time.Time{}
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SCM_TIMESTAMPNS {
			return timespec(data)
		}
		control = rest
	}
	return time.Time{}
}

// timespec reads the system's struct timespec: two longs.
func timespec(data []byte) time.Time {
	const long = 32 << (^uint(0) >> 63) / 8
	if len(data) < 2*long {
		return time.Time{}
	}
	if long == 4 {
		return time.Unix(int64(int32(binary.NativeEndian.Uint32(data))), int64(binary.NativeEndian.Uint32(data[4:])))
	}
	return time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
}
