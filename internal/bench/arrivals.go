package main

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

// Chromium's feedback comes so often that it takes a twentieth of what comes, within bounds,
// and the first after 100 ms (libwebrtc's generator of transport-wide feedback).
const (
	feedbackFirst = 100 * time.Millisecond
	feedbackLeast = 50 * time.Millisecond
	feedbackMost  = 250 * time.Millisecond
	feedbackBits  = 68 * 8 // of a message, as libwebrtc counts it
	feedbackPart  = 0.05
)

// feedbackInterval returns how far apart messages are if so many bits come a second.
func feedbackInterval(rate float64) time.Duration {
	if rate <= 0 {
		return feedbackMost
	}
	return min(max(time.Duration(feedbackBits/(feedbackPart*rate)*float64(time.Second)), feedbackLeast), feedbackMost)
}

// arrivals are packets with transport-wide numbers of which the server was not told yet. A
// packet that arrives behind later ones counts as lost. Over loopback none does.
type arrivals struct {
	begun bool
	next  uint16 // the number from which the next message tells
	list  []arrival
	due   time.Time
	every time.Duration
	sent  uint8 // messages; wraps
}

type arrival struct {
	number uint16
	at     int64 // in arrivalUnits
}

const (
	arrivalUnit     = 250 * time.Microsecond // draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.5
	arrivalsInUnit  = 256                    // a reference time has so many
	mostSmall       = 255                    // a delta that takes one byte
	mostLarge       = 1<<15 - 1
	mostArrivals    = 500 // that one message tells of
	feedbackHeader  = 20
	feedbackRunBits = 13
)

func (a *arrivals) note(number uint16, at time.Time) {
	one := arrival{number, at.UnixNano() / int64(arrivalUnit)}
	if !a.begun {
		a.begun, a.next, a.due = true, number, at.Add(a.every)
	}
	ahead := int16(number - a.next)
	if n := len(a.list); n > 0 {
		last := a.list[n-1]
		if int16(number-last.number) <= 0 {
			return
		}
		if one.at-last.at > mostLarge || last.at-one.at > mostLarge {
			a.list, a.next = a.list[:0], number
		}
	} else if ahead < 0 {
		return
	}
	if ahead > mostArrivals {
		a.list, a.next = a.list[:0], number
	}
	a.list = append(a.list, one)
}

// take returns a message if one is due; nil: none is.
func (a *arrivals) take(now time.Time, ssrc uint32) rtcp.Packet {
	if len(a.list) == 0 || now.Before(a.due) {
		return nil
	}
	if a.due = a.due.Add(a.every); a.due.Before(now) {
		a.due = now.Add(a.every)
	}
	count := int(a.list[len(a.list)-1].number-a.next) + 1
	reference := a.list[0].at / arrivalsInUnit
	chunks, deltas := a.encode(count, reference*arrivalsInUnit)
	b := make([]byte, feedbackHeader, feedbackHeader+len(chunks)+len(deltas)+3)
	b[0], b[1] = 2<<6|rtcp.FormatTCC, uint8(rtcp.TypeTransportSpecificFeedback)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	binary.BigEndian.PutUint16(b[12:], a.next)
	binary.BigEndian.PutUint16(b[14:], uint16(count))
	binary.BigEndian.PutUint32(b[16:], uint32(reference)<<8|uint32(a.sent))
	b = append(append(b, chunks...), deltas...)
	if short := -len(b) & 3; short > 0 {
		b[0] |= 0x20
		b = append(b, make([]byte, short)...)
		b[len(b)-1] = byte(short)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
	a.sent++
	a.next, a.list = a.list[len(a.list)-1].number+1, a.list[:0]
	raw := rtcp.RawPacket(b)
	return &raw
}

// encode returns the chunks and deltas of a message about count packets from a.next on.
func (a *arrivals) encode(count int, from int64) (chunks, deltas []byte) {
	symbols := make([]uint8, count)
	small := 0
	for _, one := range a.list {
		delta := one.at - from
		from = one.at
		symbol := uint8(1)
		if delta >= 0 && delta <= mostSmall {
			deltas = append(deltas, byte(delta))
			small++
		} else {
			symbol = 2
			deltas = binary.BigEndian.AppendUint16(deltas, uint16(int16(delta)))
		}
		symbols[one.number-a.next] = symbol
	}
	if small == count {
		return binary.BigEndian.AppendUint16(nil, 1<<feedbackRunBits|uint16(count)), deltas
	}
	const perChunk = 7
	for at := 0; at < count; at += perChunk {
		chunk := uint16(3 << 14) // symbols of two bits
		for i, symbol := range symbols[at:min(at+perChunk, count)] {
			chunk |= uint16(symbol) << (12 - 2*i)
		}
		chunks = binary.BigEndian.AppendUint16(chunks, chunk)
	}
	return chunks, deltas
}
