package dtlssrtp

import (
	"net/netip"
	"sync"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"github.com/deltacdn/delta/internal/egress"
)

// room is what a packet may have more than its header and payload: the tag of
// AES-GCM (16) or HMAC-SHA1 (10).
const room = 32

// A Sealer seals for the other side. Its methods may be called concurrently. Of
// the Sealers of one connection, no two may seal for the same SSRC (RFC 3711
// section 9.1).
type Sealer struct {
	mu      sync.Mutex
	context *srtp.Context
	header  rtp.Header // of what is sealed
}

// Sealer returns a new one.
func (k Keys) Sealer() (*Sealer, error) {
	c, err := srtp.CreateContext(k.keys.LocalMasterKey, k.keys.LocalMasterSalt, k.profile)
	if err != nil {
		return nil, err
	}
	return NewSealer(c), nil
}

// NewSealer returns a Sealer that owns c.
func NewSealer(c *srtp.Context) *Sealer { return &Sealer{context: c} }

// RTP seals a packet straight into a batch, with the one copy of its payload.
func (s *Sealer) RTP(batch *egress.Batch, to netip.AddrPort, h *rtp.Header, payload []byte) (int, error) {
	n := h.MarshalSize()
	buf := batch.Room(n + len(payload) + room)
	plain := buf[:n+len(payload)]
	if _, err := h.MarshalTo(plain); err != nil {
		return 0, err
	}
	copy(plain[n:], payload)
	s.mu.Lock()
	sealed, err := s.context.EncryptRTP(plain[:0:cap(buf)], plain, &s.header)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	batch.Add(sealed, to)
	return len(sealed), nil
}

// RTCP seals a compound packet.
func (s *Sealer) RTCP(plain []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.context.EncryptRTCP(nil, plain, nil)
}
