package cdn

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/rtpdump"
)

// ready is a Consumer that tells a goroutine that there is something to read.
type ready chan struct{}

func (r ready) Consume() {
	select {
	case r <- struct{}{}:
	default:
	}
}

func dump(ctx context.Context, w io.Writer, l *Layer) error {
	start := time.Now()
	out, err := rtpdump.NewWriter(w, rtpdump.Header{Start: start, Source: net.IPv4zero})
	if err != nil {
		return err
	}
	s := l.track.stream
	more := make(ready, 1)
	defer s.Attach(more)()
	for cursor := l.Live(); ; {
		for p := cursor.Next(); p != nil; p = cursor.Next() {
			raw, err := dumped(p).Marshal()
			if err != nil {
				return err
			}
			if err := out.WritePacket(rtpdump.Packet{Offset: p.Arrival.Sub(start), Payload: raw}); err != nil {
				return err
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Done():
			return nil
		}
	}
}

func dumped(p *Packet) *rtp.Packet {
	return &rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: p.Marker, PayloadType: 96, SSRC: 1,
			SequenceNumber: uint16(p.Seq), Timestamp: uint32(p.Timestamp),
		},
		Payload: p.Payload,
	}
}
