package socket

import (
	"net"
	"net/netip"
)

// maxSpareWriters is the number of unused writers that are kept, for as many goroutines
// that send at the same time.
const maxSpareWriters = 8

// A writer sends one datagram. It is used again, so that nothing is allocated.
type writer struct {
	*Sender
	one [1]Message
}

func (k *kernel) takeWriter() *writer {
	select {
	case w := <-k.spareWriters:
		return w
	default:
		return &writer{Sender: NewSender(k.raw, 1)}
	}
}

func (k *kernel) putWriter(w *writer) {
	w.one[0].Bytes = nil
	w.out.setBuffer(0, nil)
	select {
	case k.spareWriters <- w:
	default:
	}
}

// WriteToAddrPort sends one datagram, without waiting.
func (k *kernel) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	w := k.takeWriter()
	defer k.putWriter(w)
	w.one[0] = Message{To: to, Bytes: b}
	if _, err := w.Send(w.one[:]); err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: k.local, Addr: net.UDPAddrFromAddrPort(to), Err: err}
	}
	return len(b), nil
}
