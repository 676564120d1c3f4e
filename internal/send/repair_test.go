package send

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/sendtest"
)

// withPictureID publishes a VP8 frame with a 15-bit picture ID.
func withPictureID(l *sendtest.Layer, id uint16, key bool) {
	inter := byte(1)
	if key {
		inter = 0
	}
	l.Packet(true, 0x90, 0x80, 0x80|byte(id>>8), byte(id), inter, 0, 0, 9, 9, 9)
	l.Next++
}

// What is sent again is what was sent, whatever was switched to since.
func TestRepairsAfterSwitches(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("h", "l")}, func(v *viewer) {
		high, low := v.Layers[0], v.Layers[1]
		v.add(Config{Layer: "h"})
		v.sender.Bind(Output{To: v, SSRC: 1}) // without RTX
		v.set.Start()
		withPictureID(high, 1000, true)
		withPictureID(high, 1001, false)
		v.serve()
		v.change(func(s *Sender) { s.switchTo(low.Layer) })
		withPictureID(low, 5000, true)
		withPictureID(low, 5001, false)
		v.serve()
		v.change(func(s *Sender) { s.switchTo(high.Layer) })
		withPictureID(high, 1002, true)
		v.serve()
		require.Len(t, v.Packets, 5)
		time.Sleep(5 * ms) // a packet this young is not repaired
		for i, was := range v.Packets {
			v.Packets = nil
			v.says(nack(was.SequenceNumber, 0))
			require.NotEmpty(t, v.Packets)
			require.Equal(t, was.Payload, v.Packets[0].Payload, "packet %d", i)
			require.Equal(t, was.Header, v.Packets[0].Header)
		}
	})
}

// Repairs cost at most a quarter of the media, the media of the opening, and the burst.
func TestRepairsAreBounded(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8()}, func(v *viewer) {
		v.join(Config{})
		media, opening, repairs, begun := 0, 0, 0, time.Now()
		for frame := range 10_000 {
			time.Sleep(ms)
			now := time.Now()
			v.layer.Packet(true, append([]byte{0x10, 0}, make([]byte, 1196)...)...)
			v.layer.Next++
			v.serve()
			if frame > 100 && len(v.Packets) > 0 {
				says(v.set, now.Add(60*ms),
					&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: 30}}},
					nack(v.Packets[0].SequenceNumber, 0xffff),
				)
			}
			for _, p := range v.Packets {
				n := p.MarshalSize() + len(p.Payload) + sendtest.Tag
				switch {
				case p.SSRC == 2:
					repairs += n
				case now.Sub(begun) <= time.Second:
					opening += n
				default:
					media += n
				}
			}
			v.Packets = v.Packets[:0]
		}
		require.Positive(t, repairs)
		require.LessOrEqual(t, repairs, 32*1200+opening+media/4+100)
		require.Greater(t, repairs, media/5, "the budget is used")
	})
}
