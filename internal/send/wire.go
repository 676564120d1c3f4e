package send

import "slices"

// An RTPWriter sends packets: the header as it is on the wire, and the payload. It
// may not keep what it is given, and returns how long the packet was.
type RTPWriter interface {
	WriteRTP(header, payload []byte) (n int, err error)
}

// Output is where and how a Sender's packets go, as negotiated.
type Output struct {
	To   RTPWriter
	SSRC uint32
	RTX  uint32 // SSRC of retransmissions; 0: they go out as they were
	// Mid is written with the first packets, and each one of a sender that has a
	// RID. If empty, it is the line's.
	Mid string
	// Extensions has the id of each header extension that the receiver takes,
	// by URI.
	Extensions map[string]uint8

	mid, delay, rid uint8 // ids out of Extensions; 0: not taken
}

// wireState is how the receiver wants packets, and the one that is sent.
type wireState struct {
	header []byte
	buffer [64]byte // of most headers
	named  uint64   // from this number on packets do not say their mid; 0: not known
	pt     uint8    // the line's
	wide   bool     // some extensions are above 14, which only the two-byte form has
	delays bool     // delay is written
	delay  [3]byte
	ids    [16]uint8 // of the track's extensions, as negotiated
	out    Output
	// more has the ids of extensions that are not in ids; nil: there are none.
	more []uint8

	scratch []byte // of a payload that has to be changed
}

// Bind tells the sender where its packets go.
func (s *Sender) Bind(o Output) {
	s.set.change()
	defer s.set.mu.Unlock()
	o.mid, o.delay, o.rid = o.Extensions[uriMid], o.Extensions[uriPlayoutDelay], o.Extensions[uriRid]
	s.more = nil
	for i, uri := range s.line.Track.Info().Extensions {
		id := o.Extensions[uri]
		if uri == uriPlayoutDelay && s.set.config.Playout != nil {
			id = 0 // ours goes out in its place
		}
		if i+1 < len(s.ids) {
			s.ids[i+1] = id
		} else {
			s.more = append(s.more, id)
		}
	}
	if d := s.set.config.Playout; d != nil && s.video && o.delay != 0 {
		s.delays, s.delay = true, d.bytes()
	}
	if o.Mid == "" {
		o.Mid = s.line.Mid
	}
	s.wide = max(o.mid, o.delay, o.rid, slices.Max(s.ids[:]), slices.Max(append(s.more, 0))) > 14
	o.Extensions = nil // they are read
	s.pt, s.header = s.line.PT, s.buffer[:0]
	s.out = o
}

// id returns the receiver's id for an extension of the track, 0 if it takes none.
func (s *wireState) id(ours uint8) uint8 {
	if int(ours) < len(s.ids) {
		return s.ids[ours]
	}
	if i := int(ours) - len(s.ids); i < len(s.more) {
		return s.more[i]
	}
	return 0
}

// Unbind says that nothing can be sent any more.
func (s *Sender) Unbind() {
	s.set.change()
	defer s.set.mu.Unlock()
	s.out.To = nil
}

// write sends the header that was filled in, and payload.
func (s *Sender) write(payload []byte) (int, error) {
	to := s.out.To
	if s.set.to != nil {
		to = s.set.to
	}
	return to.WriteRTP(s.header, payload)
}
