package ring

const (
	slabBytes   = 64 << 10
	slabPackets = 64
)

// An arena copies packets into slabs, so that a packet costs the garbage
// collector a sixtieth of an object. A slab is freed when the last packet in
// it is: the collector counts for us, and a slow reader can never see memory
// that was written again.
type arena struct {
	bytes   []byte
	packets []Packet
}

func (a *arena) store(p Packet) *Packet {
	p.Extensions, p.Payload = a.copy(p.Extensions), a.copy(p.Payload)
	if len(a.packets) == 0 {
		a.packets = make([]Packet, slabPackets)
	}
	q := &a.packets[0]
	a.packets = a.packets[1:]
	*q = p
	return q
}

// copy returns a copy of b that has no room to grow into its neighbour's.
func (a *arena) copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if len(a.bytes) < len(b) {
		a.bytes = make([]byte, max(slabBytes, len(b)))
	}
	dst := a.bytes[:len(b):len(b)]
	a.bytes = a.bytes[len(b):]
	copy(dst, b)
	return dst
}
