package socket

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is the system's struct mmsghdr.
type mmsghdr struct {
	unix.Msghdr
	bytes uint32 // that were read or sent
}

// mmsg reads or sends messages with one call, which does not wait, and returns how many
// went.
//
// The scheduler is not told of the call ([unix.RawSyscall6]). If it is told while the
// process has just been woken, it wakes its monitor (sysmon), which then looks on for
// a while: that costs several times what it takes to read a datagram. And during a long
// call the monitor has another thread take over, which competes for the same core.
// So the number of messages has to be small enough for a call to take less than a
// millisecond. (Where sending is delivering, as over loopback, that is not so for many large
// messages.) And a caller that goes on without waiting has to call yield now and then.
func mmsg(trap, fd uintptr, all []mmsghdr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&all[0])), uintptr(len(all)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// yield lets other goroutines run. Of its system call the scheduler is told, so that the
// monitor wakes. On a node with one busy processor only the monitor asks the network for
// goroutines that need not wait any more.
func yield() {
	_, _, _ = unix.Syscall(unix.SYS_GETPPID, 0, 0, 0)
	runtime.Gosched()
}

// An mmsgs is memory for the messages of a call, each with one buffer.
type mmsgs struct {
	headers []mmsghdr
	vectors []unix.Iovec
	names   []sockaddr
}

func newMMsgs(n int) mmsgs {
	m := mmsgs{headers: make([]mmsghdr, n), vectors: make([]unix.Iovec, n), names: make([]sockaddr, n)}
	for i := range m.headers {
		h := &m.headers[i]
		h.Name, h.Iov = &m.names[i][0], &m.vectors[i]
		h.SetIovlen(1)
	}
	return m
}

func (m *mmsgs) setBuffer(i int, b []byte) {
	m.vectors[i].Base = unsafe.SliceData(b)
	m.vectors[i].SetLen(len(b))
}

func (m *mmsgs) setControl(i int, b []byte) {
	m.headers[i].Control = unsafe.SliceData(b)
	m.headers[i].SetControllen(len(b))
}
