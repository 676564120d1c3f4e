package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// A Receiver reads many datagrams with one call. One goroutine at a time uses it. It does
// not allocate in steady state.
type Receiver struct {
	raw       syscall.RawConn
	in        mmsgs
	buffers   [][]byte
	controls  [][]byte
	datagrams []Datagram

	// of the call
	n    int // datagrams there is room for, and then those that came
	err  error
	call func(fd uintptr)
}

// NewReceiver returns a Receiver of up to so many datagrams, with room for so many bytes
// of control messages each.
func NewReceiver(raw syscall.RawConn, datagrams, control int) *Receiver {
	r := &Receiver{raw: raw, in: newMMsgs(datagrams), datagrams: make([]Datagram, 0, datagrams)}
	for i := range datagrams {
		r.buffers = append(r.buffers, make([]byte, maxDatagram))
		r.controls = append(r.controls, make([]byte, control))
		r.in.setBuffer(i, r.buffers[i])
	}
	r.call = func(fd uintptr) {
		n, errno := mmsg(unix.SYS_RECVMMSG, fd, r.in.headers[:r.n])
		if r.n = n; errno != 0 {
			r.err = errno
		}
	}
	return r
}

// Receive reads up to n datagrams, without waiting, and returns how many there were.
func (r *Receiver) Receive(n int) (int, error) {
	for i := range n {
		r.in.headers[i].Namelen = unix.SizeofSockaddrInet6
		r.in.setControl(i, r.controls[i])
	}
	r.n, r.err = n, nil
	if err := r.raw.Control(r.call); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// Taken returns the first n datagrams that were read. They are good until the next call
// of Receive.
func (r *Receiver) Taken(n int) []Datagram {
	r.datagrams = r.datagrams[:0]
	for i := range n {
		h := &r.in.headers[i]
		if from, ok := r.in.names[i].get(h.Namelen); ok {
			control := r.controls[i][:min(int(h.Controllen), len(r.controls[i]))]
			r.datagrams = append(r.datagrams, Datagram{Bytes: r.buffers[i][:h.bytes], From: from, Arrived: arrival(control)})
		}
	}
	return r.datagrams
}
