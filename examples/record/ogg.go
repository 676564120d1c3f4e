package main

import (
	"fmt"
	"io"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"

	"github.com/deltacdn/delta/cdn"
)

// An ogg writes Opus (RFC 7845).
type ogg struct {
	out  *oggwriter.OggWriter
	next time.Duration // after the last packet
}

func newOgg(out io.WriteSeeker, c cdn.Codec) (file, error) {
	if !c.Is("audio/opus") {
		return nil, fmt.Errorf("no Ogg file of %s", c.MimeType)
	}
	w, err := oggwriter.NewWith(struct{ io.Writer }{out}, c.ClockRate, max(c.Channels, 1))
	return &ogg{out: w}, err
}

// silence is 20 ms of it (RFC 6716 section 3.1: a frame of CELT without data).
var silence = []byte{0xfc, 0xff, 0xfe}

const packetTime = 20 * time.Millisecond

// write writes a packet of 20 ms. What was lost ahead of it is silence: a player counts
// packets and knows no times.
func (f *ogg) write(at time.Duration, packet []byte) error {
	for ; at-f.next > packetTime/2; f.next += packetTime {
		if err := f.packet(silence); err != nil {
			return err
		}
	}
	f.next += packetTime
	return f.packet(packet)
}

func (f *ogg) packet(data []byte) error {
	return f.out.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2}, Payload: data})
}

func (f *ogg) Close() error { return f.out.Close() }
