package dtlssrtp

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/pion/srtp/v3"

	"github.com/deltacdn/delta/internal/udp/egress"
)

// A Sealer seals for the other side. One goroutine at a time may call RTP; RTCP
// may be called concurrently, with RTP as with itself. Of the Sealers of one
// connection, no two may seal for the same SSRC (RFC 3711 section 9.1).
type Sealer struct {
	packets  packetCipher
	overhead int
	sources  []source  // few: a search costs less than a map
	few      [4]source // the first of sources, where they are at hand
	gcm      gcm       // packets, mostly

	mu      sync.Mutex // guards what follows
	control control
	index   uint32        // of the SRTCP packet that comes next
	slow    *srtp.Context // in place of control, for profiles without GCM
}

// A packetCipher seals RTP packets. One goroutine at a time uses it.
type packetCipher interface {
	// seal appends the payload of a packet to its header, sealed. Behind that
	// there is room for both and the overhead.
	seal(header []byte, ssrc uint32, index uint64, payload []byte) []byte
	// overhead is how much longer a packet gets at most, while it is sealed.
	overhead() int
}

// Sealer returns a new one.
func (k Keys) Sealer() (*Sealer, error) {
	return NewSealer(k.profile, k.keys.LocalMasterKey, k.keys.LocalMasterSalt)
}

// NewSealer returns a Sealer with the keys given.
func NewSealer(profile srtp.ProtectionProfile, key, salt []byte) (*Sealer, error) {
	s := &Sealer{}
	s.sources = s.few[:0]
	if err := s.init(profile, key, salt); err != nil {
		return nil, err
	}
	s.overhead = s.packets.overhead()
	return s, nil
}

func (s *Sealer) init(profile srtp.ProtectionProfile, key, salt []byte) (err error) {
	if profile == srtp.ProtectionProfileAes128CmHmacSha1_80 {
		if s.packets, err = newCounterMode(key, salt); err == nil {
			s.slow, err = srtp.CreateContext(key, salt, profile)
		}
		return err
	}
	s.packets = &s.gcm
	if err = s.gcm.init(key, salt, labelEncryption, labelSalt); err != nil {
		return err
	}
	return s.control.init(key, salt)
}

// RTP seals a packet straight into a batch. Its payload is not copied first.
func (s *Sealer) RTP(batch *egress.Batch, to netip.AddrPort, header, payload []byte) int {
	buf := batch.Room(len(header) + len(payload) + s.overhead)
	sealed := s.seal(append(buf, header...), payload)
	batch.Add(sealed, to)
	return len(sealed)
}

func (s *Sealer) seal(header, payload []byte) []byte {
	seq, ssrc := binary.BigEndian.Uint16(header[2:]), binary.BigEndian.Uint32(header[8:])
	return s.packets.seal(header, ssrc, s.source(ssrc).index(seq), payload)
}

// source is good until the next call.
func (s *Sealer) source(ssrc uint32) *source {
	for i := range s.sources {
		if s.sources[i].ssrc == ssrc {
			return &s.sources[i]
		}
	}
	s.sources = append(s.sources, source{ssrc: ssrc})
	return &s.sources[len(s.sources)-1]
}

// RTCP seals a compound packet, of 8 bytes at least.
func (s *Sealer) RTCP(plain []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.slow != nil:
		return s.slow.EncryptRTCP(nil, plain, nil)
	case s.index == encrypted:
		return nil, errWornOut
	}
	s.index++
	return s.control.seal(plain, s.index-1), nil
}

// A source is one SSRC's packet index: the sequence number with the count of its
// rollovers ahead.
type source struct {
	ssrc    uint32
	started bool
	highest uint64
}

// index returns the index that the other side will guess for a sequence number:
// the one nearest to the highest (RFC 3711 section 3.3.1 and appendix A). Below
// the first rollover there is none.
func (s *source) index(seq uint16) uint64 {
	const half = 1 << 15
	if !s.started {
		s.started, s.highest = true, uint64(seq)
		return s.highest
	}
	rollovers, last := s.highest>>16, uint16(s.highest)
	switch {
	case last < half && int(seq)-int(last) > half && rollovers > 0:
		rollovers--
	case last >= half && int(last)-half > int(seq):
		rollovers++
	}
	index := rollovers<<16 | uint64(seq)
	s.highest = max(s.highest, index)
	return index
}
