package sendtest

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// Sealed has what was sent under each number of each SSRC. SRTP seals a packet by that number,
// and two different packets under one give away what both have in common, and with AES-GCM the
// keys by which packets are authenticated (RFC 3711 section 9.1, RFC 7714 section 9.1). What
// is repeated must therefore be the same bytes, header included. The zero value is ready to use.
type Sealed struct{ sources map[uint32]*sealedSource }

type sealedSource struct {
	highest uint64 // number, with the count of rollovers ahead
	packets map[uint64]uint64
}

var sealedSeed = maphash.MakeSeed()

// Add takes note of a packet. It panics if another one was sent under its number: no test may
// go on then, whatever it is about.
func (s *Sealed) Add(header, payload []byte) {
	number, ssrc := binary.BigEndian.Uint16(header[2:]), binary.BigEndian.Uint32(header[8:])
	from := s.sources[ssrc]
	if from == nil {
		if s.sources == nil {
			s.sources = make(map[uint32]*sealedSource)
		}
		from = &sealedSource{highest: 1<<16 | uint64(number), packets: make(map[uint64]uint64)}
		s.sources[ssrc] = from
	}
	at := seqnum.NearSeq(from.highest, number)
	from.highest = max(from.highest, at)
	var h maphash.Hash
	h.SetSeed(sealedSeed)
	_, _ = h.Write(header)
	_, _ = h.Write(payload)
	sum := h.Sum64()
	if was, ok := from.packets[at]; ok && was != sum {
		panic(fmt.Sprintf("two packets of SSRC %d have number %d; the second one is %x %x", ssrc, number, header, payload))
	}
	from.packets[at] = sum
}
