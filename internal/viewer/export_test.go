package viewer

import (
	"net/netip"
	"time"

	"github.com/deltacdn/delta/internal/udp/egress"
)

// Arrive has a datagram come as the port's reader does: what is answered leaves at
// once. It does so by a batch of its own, since the reader runs, too.
func (s *Session) Arrive(packet []byte, from netip.AddrPort) {
	own := egress.New(s.Transport().Port, nil).NewNonblockingBatch()
	was := s.ReplyBy(own)
	s.Receive(time.Now(), time.Now(), packet, from)
	_ = own.Flush()
	s.ReplyBy(was)
}
