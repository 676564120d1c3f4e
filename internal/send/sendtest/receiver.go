package sendtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/pion/rtp"
)

// Tag is how many bytes longer a packet is when it is sealed.
const Tag = 16

// A Receiver records what it is sent. It panics if two different packets come under one number:
// see [Sealed].
type Receiver struct {
	Packets []Packet
	Sealed  Sealed
	// Cost is how long a packet takes to be sent, as on a slow processor; Stall is how
	// much longer the next one takes.
	Cost, Stall time.Duration
}

// A Packet is one that was sent.
type Packet struct {
	rtp.Header
	At      time.Time
	Payload []byte
}

// Frame returns the number of the frame that a World has made the packet of.
func (p Packet) Frame() int {
	n := len(p.Payload)
	return int(p.Payload[n-2]) | int(p.Payload[n-1])<<8
}

// WriteRTP implements send.RTPWriter.
func (r *Receiver) WriteRTP(header, payload []byte) (int, error) {
	time.Sleep(r.Cost + r.Stall)
	r.Stall = 0
	r.Sealed.Add(header, payload)
	r.Packets = append(r.Packets, Packet{ReadHeader(header), time.Now(), slices.Clone(payload)})
	return len(header) + len(payload) + Tag, nil
}

// ReadHeader reads a header, and keeps nothing of it.
func ReadHeader(raw []byte) (h rtp.Header) {
	if n, err := h.Unmarshal(slices.Clone(raw)); err != nil || n != len(raw) {
		panic(fmt.Sprintf("no header: %x (%v)", raw, err))
	}
	return h
}
