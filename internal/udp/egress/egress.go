// Package egress sends datagrams from one UDP socket, many to a system call.
// On Linux consecutive datagrams for one destination travel as one kernel
// message that is cut up late (UDP_SEGMENT), which is where the gain lies, and
// messages for many destinations share a call (sendmmsg). Elsewhere, and over
// virtual networks, each datagram is a call.
package egress

import (
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// A Conn is what a [Socket] sends through.
type Conn interface {
	WriteTo(b []byte, addr net.Addr) (int, error)
}

// An interceptor is a Conn that at times has to see every datagram: then each goes
// through its WriteTo.
type interceptor interface {
	Intercepts() bool
}

// A Mode is a way of sending. Each is slower and asks less than the next.
type Mode int32

const (
	Single   Mode = iota // one call for a datagram
	Messages             // sendmmsg: one call for many datagrams
	Segments             // and UDP_SEGMENT: one message for many datagrams
)

func (m Mode) String() string {
	switch m {
	case Messages:
		return "messages"
	case Segments:
		return "segments"
	default:
		return "single"
	}
}

// Stats counts what a [Socket] did since [New].
type Stats struct {
	Datagrams uint64 // given to the kernel or the virtual network
	Messages  uint64 // kernel messages that carried them
	Calls     uint64 // calls it took, failed ones included
	Full      uint64 // datagrams that were dropped, as there was no room for them
	Dropped   uint64 // datagrams that were dropped for any other reason
}

// A Socket sends datagrams from one UDP socket, as many at once as the kernel
// takes. It is safe for concurrent use; each goroutine sends by a [Batch] of
// its own. It does not own the connection, whose reads and other writes go on
// as if it were not there.
type Socket struct {
	conn Conn
	raw  syscall.RawConn // of conn; nil if it has none that is any use
	tap  interceptor     // conn, if it is one; nil: it is not
	log  *slog.Logger
	tcp  Sender // static after SendTCP; nil: there is none

	mode      atomic.Int32
	datagrams atomic.Uint64
	messages  atomic.Uint64
	calls     atomic.Uint64
	full      atomic.Uint64
	dropped   atomic.Uint64
}

// A Sender sends packets to TCP clients. It must not block.
type Sender interface {
	Send(packet []byte, to netip.AddrPort)
}

// SendTCP has what is added for TCP clients ([icetcp.Is]) go by t. It must be called at
// most once, ahead of all other methods.
func (s *Socket) SendTCP(t Sender) { s.tcp = t }

// New returns a socket that sends through conn, in the best mode that is
// there. The modes above [Single] need Linux and a conn that is a
// [syscall.Conn] of a UDP socket; they go around conn's own WriteTo, unless it has a
// method Intercepts() bool that returns true. If log is nil, nothing is logged.
func New(conn Conn, log *slog.Logger) *Socket {
	return newSocket(conn, log, Segments)
}

// newSocket is New with the best mode to use.
func newSocket(conn Conn, log *slog.Logger, best Mode) *Socket {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Socket{conn: conn, log: log}
	s.tap, _ = conn.(interceptor)
	raw, mode := probe(conn)
	s.raw = raw
	s.mode.Store(int32(min(mode, best)))
	if mode < Segments {
		log.Debug("datagrams are sent without segmentation", "mode", mode)
	}
	return s
}

// Mode returns how the socket sends now. It only ever goes down, when the
// kernel turns out to refuse what it seemed to offer.
func (s *Socket) Mode() Mode { return Mode(s.mode.Load()) }

func (s *Socket) intercepts() bool { return s.tap != nil && s.tap.Intercepts() }

// lower makes mode the best to use from now on.
func (s *Socket) lower(mode Mode, why error) {
	for {
		was := s.Mode()
		if was <= mode {
			return
		}
		if s.mode.CompareAndSwap(int32(was), int32(mode)) {
			s.log.Info("kernel refused a way of sending", "refused", was, "mode", mode, "err", why)
			return
		}
	}
}

// drop counts datagrams that were dropped, by reason.
func (s *Socket) drop(datagrams int, why error) {
	if isFull(why) {
		s.full.Add(uint64(datagrams))
		return
	}
	s.dropped.Add(uint64(datagrams))
}

// Stats returns the counts, each of which is exact by itself.
func (s *Socket) Stats() Stats {
	return Stats{
		Datagrams: s.datagrams.Load(),
		Messages:  s.messages.Load(),
		Calls:     s.calls.Load(),
		Full:      s.full.Load(),
		Dropped:   s.dropped.Load(),
	}
}

// sent counts one call that took so many messages and datagrams.
func (s *Socket) sent(messages, datagrams int) {
	s.calls.Add(1)
	s.messages.Add(uint64(messages))
	s.datagrams.Add(uint64(datagrams))
}
