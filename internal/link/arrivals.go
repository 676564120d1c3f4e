package link

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/rtp/transportcc"
)

// arrivalsEvery is how often the other node is told when its packets have arrived, while it
// numbers them.
const arrivalsEvery = 50 * time.Millisecond

// arrivals are when the packets have come that the other node has numbered, and that it was
// not told of yet.
type arrivals struct {
	mu       sync.Mutex
	recorder *transportcc.Recorder // nil: none was numbered yet
	told     time.Time             // when the other node was told last
	full     bool                  // so many have come since that it is to be told now
	buffer   []byte                // of what is sent; run's own
}

// arrived notes that a packet came whose header extension has a transport-wide sequence
// number.
func (m *media) arrived(now time.Time, ssrc uint32, number []byte) {
	if len(number) != 2 {
		return
	}
	a := &m.arrivals
	a.mu.Lock()
	if a.recorder == nil {
		a.recorder = transportcc.New(m.ssrc)
	}
	wake := !a.recorder.Pending()
	full := a.recorder.Record(ssrc, binary.BigEndian.Uint16(number), now.Sub(m.link.begun))
	wake = wake && a.recorder.Pending() || full && !a.full
	a.full = a.full || full
	a.mu.Unlock()
	if wake {
		m.link.talk.wake()
	}
}

// tellArrivals sends transport-wide feedback if that is due, and returns when the next will
// be; zero: there is nothing to tell.
func (m *media) tellArrivals(now time.Time) (next time.Time) {
	a := &m.arrivals
	a.mu.Lock()
	if a.recorder == nil || !a.recorder.Pending() {
		a.mu.Unlock()
		return next
	}
	if due := a.told.Add(arrivalsEvery); now.Before(due) && !a.full {
		a.mu.Unlock()
		return due
	}
	a.told, a.full = now, false
	if a.buffer == nil {
		a.buffer, _ = rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: m.ssrc}}) // it can be marshaled
	}
	a.buffer = a.recorder.Append(a.buffer[:emptyReport])
	a.mu.Unlock()
	m.link.conn.SendRTCP(a.buffer)
	return next
}

// emptyReport is the length of a receiver report without blocks, with which a compound
// packet begins (RFC 3550 section 6.1).
const emptyReport = 8
